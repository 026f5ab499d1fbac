#!/bin/bash
# Installs or updates the edge gateway under /opt/gateway. Run it again with a newer release to update: the new
# release is tried on every configuration before the switch, and taken back when it does not get ready.
#
#   sudo deploy/install.sh                       from this tree; the dependencies from the package index, hash-pinned
#   sudo deploy/install.sh --offline DIR         everything from a folder made by make-wheelhouse.sh
#   sudo deploy/install.sh --rollback            back to the release before
set -euo pipefail
shopt -s nullglob

PREFIX=/opt/gateway
RELEASES=$PREFIX/releases
CONFIG=/etc/gateway
STATE=/var/lib/gateway
CACHE=/var/cache/gateway
UNITS=/etc/systemd/system
NEEDED_MIB=800
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

offline='' version='' action=install dry=no settle=30

usage() {
    cat <<'TEXT'
Usage: install.sh [--offline DIR] [--version V] [--rollback] [--settle SECONDS] [--dry-run]

  --offline DIR     take every package from DIR (see make-wheelhouse.sh), never from a network
  --version V       which release, where DIR or the index holds several
  --rollback        switch back to the release before this one
  --settle SECONDS  how long the new release must run without a restart (default 30)
  --dry-run         show what would be done
TEXT
}

say() { printf '%s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
run() { if [ "$dry" = yes ]; then say "would run: $*"; else "$@"; fi; }

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --offline) [ $# -ge 2 ] || die "--offline needs a folder"; offline=$(realpath -e -- "$2" 2>/dev/null) || die "no such folder: $2"; shift ;;
            --version) [ $# -ge 2 ] || die "--version needs a number"; version=$2; shift ;;
            --settle) [ $# -ge 2 ] || die "--settle needs seconds"; settle=$2; shift ;;
            --activate) [ $# -ge 2 ] || die "--activate needs a number"; action=activate version=$2; shift ;;
            --rollback) action=rollback ;;
            --dry-run) dry=yes ;;
            -h | --help) usage; exit 0 ;;
            *) usage >&2; die "unknown option $1" ;;
        esac
        shift
    done
    case $version in '' | [0-9]*) ;; *) die "a version begins with a digit: $version" ;; esac
    case $version in */* | *..*) die "not a version: $version" ;; esac
    case $settle in '' | *[!0-9]*) die "--settle needs whole seconds: $settle" ;; esac
}

check_machine() {
    [ "$(id -u)" = 0 ] || die "run it as root: sudo $0"
    [ "$(getconf LONG_BIT)" = 64 ] || die "a 64-bit system is needed; this one runs 32-bit programs (Raspberry Pi: install the 64-bit OS)"
    command -v systemctl >/dev/null || die "systemd is needed"
    [ "$action" = install ] || return 0
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        if [ -n "$offline" ] || ! command -v apt-get >/dev/null; then die "python3-venv is needed: apt-get install python3-venv"; fi
        run apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends python3-venv
    fi
    if [ "$dry" = no ]; then
        python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed, this is $(python3 --version)"
    fi
    local free
    mkdir -p "$PREFIX"
    free=$(df --output=avail -m "$PREFIX" | tail -n 1)
    [ "$free" -ge "$NEEDED_MIB" ] || die "$PREFIX has $((free)) MiB free, $NEEDED_MIB are needed"
}

warn_machine() {
    if grep -qs cgroup_disable=memory /proc/cmdline && ! grep -qs cgroup_enable=memory /proc/cmdline; then
        say "note: this kernel ignores memory limits; add cgroup_enable=memory to /boot/firmware/cmdline.txt"
    fi
}

lock() {
    exec 9>/run/lock/gateway-install.lock
    flock -n 9 || die "another install.sh is running"
}

# --- user and directories ---------------------------------------------------------------------------------------------

make_user() {
    run install -D -m 0644 "$HERE/gateway.sysusers.conf" /etc/sysusers.d/gateway.conf
    run systemd-sysusers /etc/sysusers.d/gateway.conf
    run install -d -o root -g gateway -m 0750 "$CONFIG" "$CONFIG/secrets"
    run install -d -o gateway -g gateway -m 0700 "$STATE" "$CACHE"
    run install -d -o root -g root -m 0755 "$RELEASES"
}

# --- the release --------------------------------------------------------------------------------------------------------

own_version() { sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$HERE/../gateway/__init__.py"; }

find_version() {
    if [ -n "$offline" ]; then
        local wheels=("$offline"/edge_gateway-*-py3-none-any.whl)
        if [ -n "$version" ]; then wheels=("$offline/edge_gateway-$version"-py3-*.whl); fi
        [ ${#wheels[@]} -gt 0 ] || die "$offline holds no release ${version:-of the gateway}"
        local newest
        newest=$(printf '%s\n' "${wheels[@]##*/}" | sort -V | tail -n 1)
        version=${newest#edge_gateway-} version=${version%-py3-none-any.whl}
        (cd "$offline" && sha256sum --quiet --check SHA256SUMS) || die "$offline is damaged: SHA256SUMS does not fit"
    elif [ -z "$version" ]; then
        [ -f "$HERE/../pyproject.toml" ] || die "this is no source tree: use --offline DIR"
        version=$(own_version)
    fi
}

build_release() {
    local release=$RELEASES/$version
    if [ -e "$release/.complete" ]; then
        say "release $version is already there"
        return
    fi
    say "installing release $version to $release"
    run rm -rf "$release"
    run python3 -m venv "$release"
    local pip=("$release/bin/python" -m pip --disable-pip-version-check --no-input --quiet install --no-cache-dir)
    if [ -n "$offline" ]; then
        run "${pip[@]}" --no-index --find-links "$offline" --only-binary :all: --require-hashes -r "$offline/requirements-$version.txt"
    elif [ "$version" = "$(own_version)" ]; then
        run "${pip[@]}" --only-binary :all: --require-hashes -r "$HERE/requirements.lock"
        run "${pip[@]}" --no-deps "$HERE/.."
    else
        run "${pip[@]}" --only-binary :all: "edge-gateway==$version"
    fi
    share_files "$release"
    run sync -f "$PREFIX"
    run touch "$release/.complete"
    run sync -f "$PREFIX"
}

# What a later roll-back or an uninstall needs travels with the release.
share_files() {
    local share=$1/share/gateway file
    run install -d "$share"
    for file in gateway.service gateway@.service gateway.target gateway.sysusers.conf install.sh uninstall.sh; do
        run install -m "$([ "${file##*.}" = sh ] && echo 0755 || echo 0644)" "$HERE/$file" "$share/$file"
    done
    for file in "$HERE/gateway.yaml.example" "$HERE/../config/gateway.yaml"; do
        if [ -f "$file" ]; then run install -m 0644 "$file" "$share/gateway.yaml.example"; break; fi
    done
    for file in "$HERE/README.md" "$HERE/../README.md"; do
        if [ -f "$file" ]; then run install -m 0644 "$file" "$share/README.md"; break; fi
    done
}

# --- configurations and kernels -----------------------------------------------------------------------------------------

as_gateway() { runuser -u gateway -- env HOME="$STATE" "$@"; }

check_configurations() {
    local release=$1 file code
    local files=("$CONFIG"/*.yaml)
    for file in "${files[@]}"; do
        code=0
        as_gateway "$release/bin/gateway" check "$file" || code=$?
        [ "$code" = 0 ] || die "release ${release##*/} refuses $file (see above); nothing was changed"
    done
    if [ ${#files[@]} -gt 1 ]; then
        as_gateway "$release/bin/python" -m gateway.tools.instances "${files[@]}" || die "two instances may not share these; nothing was changed"
    fi
}

warm() {
    local release=$1 instance
    say "compiling kernels"
    as_gateway env CACHE_DIRECTORY="$CACHE" "$release/bin/gateway" warm || { say "note: kernels are compiled at the first start instead"; return 0; }
    for instance in $(instances); do
        install -d -o gateway -g gateway -m 0700 "$CACHE/$instance"
        cp -a --update "$CACHE"/kernels-* "$CACHE/$instance/" 2>/dev/null || true
    done
}

# Names of the enabled or running instances of gateway@.service.
instances() {
    { systemctl list-units --all --plain --no-legend 'gateway@*.service' || true
      systemctl list-unit-files --plain --no-legend 'gateway@*.service' || true
      basename -a "$UNITS"/gateway.target.wants/gateway@*.service 2>/dev/null || true
    } | sed -n 's/^gateway@\([^. ]\{1,\}\)\.service.*/\1/p' | sort -u
}

# --- the switch -----------------------------------------------------------------------------------------------------------

link() { # atomic: ln -sfn is not
    ln -s "releases/$1" "$PREFIX/current.new"
    mv -T "$PREFIX/current.new" "$PREFIX/current"
    sync -f "$PREFIX"
}

copy_units() {
    local unit
    for unit in gateway.service gateway@.service gateway.target; do
        cmp -s "$1/share/gateway/$unit" "$UNITS/$unit" || install -m 0644 "$1/share/gateway/$unit" "$UNITS/$unit"
    done
    install -d /usr/local/bin
    ln -sfn "$PREFIX/current/bin/gateway" /usr/local/bin/gateway
    systemctl daemon-reload
}

services() { # those that should run
    if systemctl is-enabled --quiet gateway.service 2>/dev/null || systemctl is-active --quiet gateway.service; then echo gateway.service; fi
    local instance
    for instance in $(instances); do
        if systemctl is-enabled --quiet "gateway@$instance.service" 2>/dev/null || systemctl is-active --quiet "gateway@$instance.service"; then
            echo "gateway@$instance.service"
        fi
    done
}

idle() { # those of the named services that don't run
    local service
    for service in "$@"; do
        systemctl is-active --quiet "$service" || echo "$service"
    done
}

# `systemctl restart` returns when the daemon is ready, or failed to get there; then it must stay up for a while.
restart_all() {
    local service before
    for service in "$@"; do
        say "starting $service"
        systemctl reset-failed "$service" 2>/dev/null || true
        timeout 180 systemctl restart "$service" || { systemctl --no-pager --lines=0 status "$service" || true; return 1; }
    done
    [ $# -gt 0 ] || return 0
    before=$(systemctl show -P NRestarts "$@")
    sleep "$settle"
    for service in "$@"; do
        systemctl is-active --quiet "$service" || return 1
    done
    [ "$(systemctl show -P NRestarts "$@")" = "$before" ]
}

activate() {
    local release=$RELEASES/$version before=''
    [ -e "$release/.complete" ] || die "there is no complete release $version under $RELEASES"
    if [ -L "$PREFIX/current" ]; then before=$(basename "$(readlink "$PREFIX/current")"); fi
    check_configurations "$release"
    warm "$release"
    if [ "$before" != "$version" ]; then
        link "$version"
        say "switched to release $version"
    fi
    copy_units "$release"
    local files=("$CONFIG"/*.yaml) list due
    if [ ${#files[@]} = 0 ]; then
        first_steps
        return
    fi
    if [ -e "$CONFIG/gateway.yaml" ] && [ ! -e "$PREFIX/.enabled" ]; then # once: later the choice is the operator's
        systemctl enable --quiet gateway.service
        touch "$PREFIX/.enabled"
    fi
    systemctl enable --quiet gateway.target
    mapfile -t list < <(services)
    due=("${list[@]}")
    if [ "$before" = "$version" ]; then mapfile -t due < <(idle "${list[@]}"); fi
    if ! restart_all "${due[@]}"; then
        if [ -z "$before" ] || [ "$before" = "$version" ]; then die "release $version does not get ready: journalctl -u gateway"; fi
        say "release $version does not get ready: taking release $before back" >&2
        link "$before"
        copy_units "$RELEASES/$before"
        restart_all "${list[@]}" || die "release $before does not get ready either: journalctl -u gateway"
        die "release $version was taken back; release $before runs again"
    fi
    if [ -n "$before" ] && [ "$before" != "$version" ]; then
        printf '%s\n' "$before" >"$PREFIX/previous"
    fi
    prune
    say "release $version runs: ${list[*]:-no unit is enabled}"
}

first_steps() {
    local release=$RELEASES/$version
    install -o root -g gateway -m 0640 "$release/share/gateway/gateway.yaml.example" "$CONFIG/gateway.yaml.example"
    cat <<TEXT

Release $version is installed, nothing runs yet. Next:
  1. cp $CONFIG/gateway.yaml.example $CONFIG/gateway.yaml     and name your devices and your broker in it
  2. gateway check $CONFIG/gateway.yaml                       every mistake at once, with line and column
  3. systemctl enable --now gateway                           then: gateway status
TEXT
}

prune() { # this release and the one before stay
    local release name keep
    keep=$(cat "$PREFIX/previous" 2>/dev/null || true)
    for release in "$RELEASES"/*; do
        name=${release##*/}
        if [ "$name" != "$version" ] && [ "$name" != "$keep" ]; then rm -rf "$release"; fi
    done
}

rollback() {
    [ -f "$PREFIX/previous" ] || die "there is no release to go back to"
    version=$(cat "$PREFIX/previous")
    say "going back to release $version"
    activate
}

parse "$@"
check_machine
[ "$dry" = yes ] || lock
case $action in
    rollback) if [ "$dry" = yes ]; then say "would go back to release $(cat "$PREFIX/previous" 2>/dev/null || echo '(none)')"; else rollback; fi ;;
    activate) make_user; activate ;;
    install)
        find_version
        make_user
        build_release
        if [ "$dry" = yes ]; then
            say "would check every configuration with release $version, compile its kernels, switch to it and restart"
        else
            activate
            warn_machine
        fi
        ;;
esac
