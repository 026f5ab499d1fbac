#!/bin/bash
# Collects everything install.sh needs for a machine without a network: wheels for one architecture and the Python
# versions of Debian 12 and 13, hash-pinned, with install.sh and the units beside them. Copy the folder to the machine,
# then: sudo DIR/install.sh --offline DIR
# --sign KEY signs the folder with an SSH key; machines that hold the public one in /etc/gateway/release-signers, as
# `edge-gateway ssh-ed25519 AAAA...`, take no other.
set -euo pipefail
shopt -s nullglob
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

arch=$(uname -m) pythons=(3.11 3.13) target='' key=''
die() { printf 'make-wheelhouse.sh: %s\n' "$*" >&2; exit 1; }
usage() { echo "Usage: make-wheelhouse.sh DIR [--arch x86_64|aarch64] [--python 3.11,3.13] [--sign KEY]"; }
while [ $# -gt 0 ]; do
    case $1 in
        --arch) [ $# -ge 2 ] || die "--arch needs a name"; arch=$2; shift ;;
        --python) [ $# -ge 2 ] || die "--python needs versions"; IFS=, read -r -a pythons <<<"$2"; shift ;;
        --sign) [ $# -ge 2 ] || die "--sign needs a key"; key=$2; shift ;;
        -h | --help) usage; exit 0 ;;
        -*) usage >&2; die "unknown option $1" ;;
        *) [ -z "$target" ] || die "one folder, please"; target=$1 ;;
    esac
    shift
done
[ -n "$target" ] || { usage >&2; exit 1; }
[ -z "$key" ] || ssh-keygen -l -f "$key" >/dev/null 2>&1 || die "no SSH key: $key"
case $arch in x86_64 | aarch64) ;; *) die "no wheels exist for $arch: 64-bit Intel, AMD and ARM only" ;; esac

mkdir -p "$target"
target=$(cd "$target" && pwd)
pip=("${PYTHON:-python3}" -m pip --disable-pip-version-check --no-input --quiet)

"$HERE/build-wheel.sh" "$target" || die "this tree can't be built (see above)"
wheel=$(find "$target" -name 'edge_gateway-*.whl' -printf '%T@ %f\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
version=${wheel#edge_gateway-} version=${version%%-*}

# Every glibc from RHEL 8's on that the oldest target (Debian 12, glibc 2.36) can load; pip matches tags literally.
platforms=(--platform "manylinux2014_$arch")
for minor in $(seq 17 36); do platforms+=(--platform "manylinux_2_${minor}_$arch"); done
if [ "$arch" = x86_64 ]; then platforms+=(--platform manylinux1_x86_64 --platform manylinux2010_x86_64 --platform manylinux_2_5_x86_64 --platform manylinux_2_12_x86_64); fi

# pip reads the lock's markers for the Python it runs on; they must be read for the Python on the target.
wanted=$(mktemp)
trap 'rm -f "$wanted"' EXIT
for python in "${pythons[@]}"; do
    echo "collecting wheels for Python $python on $arch"
    "${PYTHON:-python3}" - "$HERE/requirements.lock" "$python" "$arch" >"$wanted" <<'PYTHON'
import pathlib, re, sys
from pip._vendor.packaging.markers import Marker

lock, python, arch = sys.argv[1:]
target = {
    "python_version": python, "python_full_version": f"{python}.0", "platform_machine": arch, "sys_platform": "linux",
    "os_name": "posix", "platform_system": "Linux", "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}
for line in re.sub(r"\\\n\s*", " ", pathlib.Path(lock).read_text()).splitlines():
    pinned, *hashes = re.split(r"\s+(?=--hash=)", line)
    name, _, marker = pinned.partition(";")
    if line and not line.startswith("#") and (not marker or Marker(marker).evaluate(target)):
        print(name.strip(), *hashes)
PYTHON
    "${pip[@]}" download --dest "$target" --no-deps --only-binary :all: --require-hashes --requirement "$wanted" \
        --implementation cp --python-version "$python" --abi "cp${python/./}" --abi abi3 --abi none "${platforms[@]}" \
        || die "the packages can't be had (see above)"
done

# The requirements of this release: the lock's versions and markers, the hashes of the wheels that lie here.
"${PYTHON:-python3}" - "$HERE/requirements.lock" "$target" "$version" "$wheel" >"$target/requirements-$version.txt" <<'PYTHON'
import hashlib, pathlib, re, sys

lock, folder, version, own = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4]
digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
here = {digest(path) for path in folder.glob("*.whl")}
print(f"edge-gateway=={version} --hash=sha256:{digest(folder / own)}")
text = re.sub(r"\\\n\s*", " ", pathlib.Path(lock).read_text())
for line in text.splitlines():
    if line and not line.lstrip().startswith("#"):
        hashes = [word for word in re.findall(r"--hash=sha256:([0-9a-f]{64})", line) if word in here]
        if hashes:
            print(line.split(" --hash")[0].strip(), *(f"--hash=sha256:{word}" for word in hashes))
PYTHON

# What is needed before a release is there; the rest lies in its wheel.
install -m 0755 "$HERE"/{install,activate,notes,uninstall}.sh "$target"
install -m 0644 "$HERE"/{common.sh,gateway.sysusers.conf} "$HERE/../README.md" "$target"
install -m 0644 "$HERE/../config/gateway.yaml" "$target/gateway.yaml.example"
rm -f "$target"/SHA256SUMS{,.sig}
sums=$(cd "$target" && find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum)
printf '%s\n' "$sums" >"$target/SHA256SUMS"
[ -z "$key" ] || ssh-keygen -q -Y sign -f "$key" -n edge-gateway "$target/SHA256SUMS"
echo "$target: release $version with $(find "$target" -name '*.whl' | wc -l) wheels, $(du -sh "$target" | cut -f 1)"
