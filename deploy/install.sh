#!/bin/bash
# Installs or updates the edge gateway under /opt/gateway. Run it again with a newer release to update: the new
# release is tried on every configuration before the switch, and taken back when it does not get ready.
#
#   sudo deploy/install.sh                       from this tree; the dependencies from the package index, hash-pinned
#   sudo deploy/install.sh --offline DIR         everything from a folder made by make-wheelhouse.sh
#   sudo deploy/install.sh --rollback            back to the release before
#
# This script makes the release, activate.sh puts it to work. Interrupted at any point: run it again.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/common.sh
. "$HERE/common.sh"

PYTHON=${PYTHON:-/usr/bin/python3} # the system's own: another one may lie where the service may not look
NEEDED_MIB=800
offline='' version='' rollback=no settle=30

usage() {
    cat <<'TEXT'
Usage: install.sh [--offline DIR] [--version V] [--rollback] [--settle SECONDS] [--dry-run]

  --offline DIR     take every package from DIR (see make-wheelhouse.sh), never from a network
  --version V       which release, where DIR holds several; also one that is still installed
  --rollback        switch back to the release before this one
  --settle SECONDS  how long the new release must run without a restart (default 30)
  --dry-run         show what would be done
TEXT
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --offline) [ $# -ge 2 ] || die "--offline needs a folder"; offline=$(realpath -e -- "$2" 2>/dev/null) || die "no such folder: $2"; shift ;;
            --version) [ $# -ge 2 ] || die "--version needs a number"; version=$2; shift ;;
            --settle) [ $# -ge 2 ] || die "--settle needs seconds"; settle=$2; shift ;;
            --rollback) rollback=yes ;;
            --dry-run) dry=yes ;;
            -h | --help) usage; exit 0 ;;
            *) usage >&2; die "unknown option $1" ;;
        esac
        shift
    done
    [[ $version =~ ^([0-9][0-9A-Za-z.+_-]*)?$ ]] || die "not a version: $version"
    [[ $settle =~ ^[0-9]+$ ]] || die "--settle needs whole seconds: $settle"
}

check_machine() {
    need_root
    [ "$(getconf LONG_BIT)" = 64 ] || die "a 64-bit system is needed; this one runs 32-bit programs (Raspberry Pi: install the 64-bit OS)"
    command -v systemctl >/dev/null || die "systemd is needed"
}

own_version() { sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$HERE/../gateway/__init__.py" 2>/dev/null || true; }

find_version() {
    if [ -n "$version" ] && usable "$RELEASES/$version"; then return; fi
    if [ -z "$offline" ]; then
        local own
        own=$(own_version)
        [ -n "$own" ] || die "this is no source tree: use --offline DIR"
        [ "${version:-$own}" = "$own" ] || die "this tree is release $own; take $version's own tree, or a folder with --offline"
        version=$own
        return
    fi
    local wheels=("$offline"/edge_gateway-*-py3-none-any.whl) newest
    if [ -n "$version" ]; then wheels=("$offline/edge_gateway-$version"-py3-none-any.whl); fi
    [ -e "${wheels[0]:-}" ] || die "$offline holds no release ${version:-of the gateway}"
    newest=$(printf '%s\n' "${wheels[@]##*/}" | sort -V | tail -n 1)
    version=${newest#edge_gateway-} version=${version%-py3-none-any.whl}
    check_folder
}

check_folder() { # unchanged, what is installed is listed, and signed where this machine asks for it
    local damage file
    damage=$(cd "$offline" && sha256sum --quiet --check SHA256SUMS 2>&1) || die "$offline is damaged or incomplete: ${damage%%$'\n'*}"
    for file in "edge_gateway-$version-py3-none-any.whl" "requirements-$version.txt"; do
        awk -v name="$file" '$2 == name { found = 1 } END { exit !found }' "$offline/SHA256SUMS" || die "$offline/$file is not listed in SHA256SUMS"
    done
    [ -e "$SIGNERS" ] || return 0
    command -v ssh-keygen >/dev/null || die "ssh-keygen is needed to check who signed: apt-get install openssh-client"
    ssh-keygen -Y verify -f "$SIGNERS" -I edge-gateway -n edge-gateway -s "$offline/SHA256SUMS.sig" <"$offline/SHA256SUMS" >/dev/null 2>&1 \
        || die "$offline is not signed by a key in $SIGNERS"
}

check_python() {
    if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
        if [ -n "$offline" ] || ! command -v apt-get >/dev/null; then die "python3-venv is needed: apt-get install python3-venv"; fi
        run apt-get -qq update || true # old lists may do
        run apt-get -o DPkg::Lock::Timeout=120 -qq install -y --no-install-recommends python3-venv || die "python3-venv is needed and can't be installed"
    fi
    [ ! -x "$PYTHON" ] || "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed, this is $("$PYTHON" --version)"
}

check_disk() {
    local place=$PREFIX free
    while [ ! -e "$place" ]; do place=$(dirname "$place"); done
    free=$(df --output=avail -m "$place" | tail -n 1)
    [ "$free" -ge "$NEEDED_MIB" ] || die "$place has $((free)) MiB free, $NEEDED_MIB are needed"
}

build_release() {
    local release=$RELEASES/$version
    if usable "$release"; then
        say "release $version is already there"
        return
    fi
    check_python
    check_disk
    say "installing release $version to $release"
    discard "$release"
    run install -d -m 0755 "$PREFIX" "$RELEASES"
    run "$PYTHON" -m venv "$release"
    local pip=("$release/bin/python" -I -m pip --disable-pip-version-check --no-input --quiet install --no-cache-dir)
    if [ -n "$offline" ]; then
        run "${pip[@]}" --no-index --find-links "$offline" --only-binary :all: --require-hashes -r "$offline/requirements-$version.txt" \
            || die "$offline does not serve this machine (see above); nothing was changed"
    else
        run "${pip[@]}" --only-binary :all: --require-hashes -r "$HERE/requirements.lock" \
            || die "the packages can't be had (see above); nothing was changed"
        run env PYTHON="$release/bin/python" "$HERE/build-wheel.sh" "$release/wheel" || die "this tree can't be built (see above); nothing was changed"
        run "${pip[@]}" --no-deps --no-index "$release"/wheel/*.whl
        run rm -r "$release/wheel"
    fi
    run sync -f "$PREFIX"
    run touch "$release/.complete"
    run sync -f "$PREFIX"
}

parse "$@"
check_machine
lock
if [ "$rollback" = yes ]; then
    version=$(cat "$SWITCHING" "$PREFIX/previous" 2>/dev/null | head -n 1 || true)
    [ -n "$version" ] || die "there is no release to go back to"
    say "going back to release $version"
else
    find_version
    build_release
fi
activate=("$HERE/activate.sh" "$version" --settle "$settle")
if [ "$dry" = yes ]; then activate+=(--dry-run); fi
exec "${activate[@]}"
