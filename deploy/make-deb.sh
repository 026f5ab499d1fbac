#!/bin/bash
# The second way to install: one .deb with the same tree under /opt/gateway, made from a wheelhouse on a machine with
# the target's Debian and architecture (the package is bound to both). Its maintainer scripts do what install.sh does
# after building a release: check the configurations, compile the kernels, switch, restart, roll back on failure.
set -euo pipefail
shopt -s nullglob
die() { printf 'make-deb.sh: %s\n' "$*" >&2; exit 1; }

usage() { echo "Usage: make-deb.sh WHEELHOUSE OUT_DIR [VERSION]"; }
case ${1:-} in
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; die "unknown option $1" ;;
esac
[ $# = 2 ] || [ $# = 3 ] || { usage >&2; exit 1; }
wheelhouse=$(realpath -e -- "$1") || die "no such folder: $1"
mkdir -p "$2"
out=$(realpath -e -- "$2")

wheels=("$wheelhouse"/edge_gateway-*-py3-none-any.whl)
if [ -n "${3:-}" ]; then wheels=("$wheelhouse/edge_gateway-$3"-py3-*.whl); fi
[ ${#wheels[@]} -gt 0 ] || die "$wheelhouse holds no release: make-wheelhouse.sh makes one"
wheel=$(printf '%s\n' "${wheels[@]##*/}" | sort -V | tail -n 1)
version=${wheel#edge_gateway-} version=${version%-py3-none-any.whl}
python=${PYTHON:-/usr/bin/python3}
minor=$("$python" -c 'import sys; print(sys.version_info.minor)')

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 0755 "$stage"
release=$stage/opt/gateway/releases/$version
mkdir -p "${release%/*}" "$stage/DEBIAN"
"$python" -m venv "$release"
"$release/bin/python" -m pip --disable-pip-version-check --no-input --quiet install --no-cache-dir --no-index \
    --find-links "$wheelhouse" --only-binary :all: --require-hashes --no-compile -r "$wheelhouse/requirements-$version.txt"

# Scripts hold the path they were made at; the target's is the one without the stage.
grep -rlIF "$stage" "$release/bin" "$release/pyvenv.cfg" | xargs -r sed -i "s|$stage||g"
find "$release" -name __pycache__ -prune -exec rm -rf {} +
"$python" -m compileall -q -s "$stage" -p / "$release/lib" || die "the release does not compile"

touch "$release/.complete"

cat >"$stage/DEBIAN/control" <<TEXT
Package: edge-gateway
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: Edge gateway maintainers <gateway@localhost>
Installed-Size: $(du -sk "$stage/opt" | cut -f 1)
Depends: python3 (>= 3.$minor), python3 (<< 3.$((minor + 1))), systemd
Section: net
Priority: optional
Description: Industrial edge gateway
 Polls PLCs, meters and sensors, compresses with bounded error, delivers over MQTT.
TEXT
# dpkg deletes the release before this one between unpacking and configuring: it is set aside, for a roll-back.
cat >"$stage/DEBIAN/preinst" <<'TEXT'
#!/bin/sh
set -e
if [ "$1" = upgrade ] && [ -L /opt/gateway/current ]; then
    old=$(basename "$(readlink /opt/gateway/current)")
    rm -rf "/opt/gateway/releases/.kept-$old"
    cp -al "/opt/gateway/releases/$old" "/opt/gateway/releases/.kept-$old"
fi
TEXT
cat >"$stage/DEBIAN/postinst" <<TEXT
#!/bin/sh
set -e
if [ "\$1" = configure ]; then
    for kept in /opt/gateway/releases/.kept-*; do
        [ -d "\$kept" ] || continue
        old=/opt/gateway/releases/\${kept##*/.kept-}
        if [ "\$old" = /opt/gateway/releases/$version ]; then rm -rf "\$kept"; continue; fi
        rm -rf "\$old"
        mv "\$kept" "\$old"
    done
    /opt/gateway/releases/$version/share/gateway/activate.sh $version --settle 10
fi
TEXT
cat >"$stage/DEBIAN/prerm" <<TEXT
#!/bin/sh
set -e
if [ "\$1" = remove ]; then
    /opt/gateway/releases/$version/share/gateway/uninstall.sh
fi
TEXT
cat >"$stage/DEBIAN/postrm" <<'TEXT'
#!/bin/sh
set -e
if [ "$1" = purge ]; then
    rm -rf /etc/gateway /var/lib/gateway /var/cache/gateway /opt/gateway
    if getent passwd gateway >/dev/null; then userdel gateway; fi
fi
TEXT
chmod 0755 "$stage/DEBIAN/preinst" "$stage/DEBIAN/postinst" "$stage/DEBIAN/prerm" "$stage/DEBIAN/postrm"
file=$out/edge-gateway_${version}_$(dpkg --print-architecture)_py3$minor.deb
dpkg-deb --root-owner-group -Zzstd --build "$stage" "$file" >/dev/null
echo "$file: $(du -h "$file" | cut -f 1)"
