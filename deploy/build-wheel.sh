#!/bin/bash
# Makes the wheel of this tree; what builds it is hash-pinned as everything else is.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() { echo "Usage: build-wheel.sh DIR"; }
die() { printf 'build-wheel.sh: %s\n' "$*" >&2; exit 1; }
case ${1:-} in
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; die "unknown option $1" ;;
esac
[ $# = 1 ] || { usage >&2; exit 1; }

backend=$(mktemp -d)
trap 'rm -rf "$backend"' EXIT
pip=("${PYTHON:-python3}" -m pip --disable-pip-version-check --no-input --quiet)
"${pip[@]}" install --target "$backend" --only-binary :all: --require-hashes -r "$HERE/build.lock"
PYTHONPATH=$backend "${pip[@]}" wheel --no-deps --no-build-isolation --wheel-dir "$1" "$HERE/.."
