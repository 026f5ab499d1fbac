#!/bin/bash
# Puts an installed release to work: checks it on every configuration, compiles its kernels, switches to it, restarts,
# and takes it back when it does not get ready. Called by install.sh and by the Debian package.
#
# The file `switching` names the release to go back to, from before the link is turned until the new one has proven
# itself: a run that was cut short is finished, or taken back, by the next one.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/common.sh
. "$HERE/common.sh"
cd / # where user gateway may look, and Python finds no module by chance

version='' settle=30

usage() { echo "Usage: activate.sh VERSION [--settle SECONDS] [--dry-run]"; }

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --settle) [ $# -ge 2 ] || die "--settle needs seconds"; settle=$2; shift ;;
            --dry-run) dry=yes ;;
            -h | --help) usage; exit 0 ;;
            -*) usage >&2; die "unknown option $1" ;;
            *) version=$1 ;;
        esac
        shift
    done
    [ -n "$version" ] || { usage >&2; die "which release?"; }
}

# --- user, configurations, kernels --------------------------------------------------------------------------------------

make_user() {
    install -D -m 0644 "$RELEASES/$version/share/gateway/gateway.sysusers.conf" /etc/sysusers.d/gateway.conf
    systemd-sysusers /etc/sysusers.d/gateway.conf
    install -d -o root -g gateway -m 0750 "$CONFIG" "$CONFIG/secrets"
    install -d -o gateway -g gateway -m 0700 "$STATE" "$CACHE"
}

as_gateway() { runuser -u gateway -- env HOME="$STATE" "$@"; }

check_configurations() {
    local release=$1 file
    local files=("$CONFIG"/*.yaml)
    for file in "${files[@]}"; do
        as_gateway test -r "$file" || die "user gateway may not read $file (chgrp gateway, chmod 0640); nothing was changed"
        as_gateway "$release/bin/gateway" check "$file" || die "release $version refuses $file (see above); nothing was changed"
    done
    if [ ${#files[@]} -gt 1 ]; then
        as_gateway "$release/bin/python" -m gateway.tools.instances "${files[@]}" || die "two instances may not share these; nothing was changed"
    fi
}

warm() {
    local release=$1 instance kernels copy
    say "compiling kernels"
    as_gateway env CACHE_DIRECTORY="$CACHE" "$release/bin/gateway" warm || { say "note: kernels are compiled at the first start instead"; return 0; }
    for instance in $(instances); do
        install -d -o gateway -g gateway -m 0700 "$CACHE/$instance"
        for kernels in "$CACHE/kernels-$version"-*; do
            copy=$CACHE/$instance/building-install
            rm -rf "$copy"
            cp -a "$kernels" "$copy"
            mv -T "$copy" "$CACHE/$instance/${kernels##*/}" 2>/dev/null || rm -rf "$copy" # it is there already
        done
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
    ln -sfn "releases/$1" "$PREFIX/current.new"
    mv -T "$PREFIX/current.new" "$PREFIX/current"
    sync -f "$PREFIX"
}

note() { # one line as a file, whole or not at all
    printf '%s\n' "$2" >"$1.new"
    mv -T "$1.new" "$1"
    sync -f "$1"
}

copy_units() {
    local share=$RELEASES/$1/share/gateway unit
    for unit in gateway.service gateway@.service gateway.target; do
        if ! cmp -s "$share/$unit" "$UNITS/$unit"; then
            install -m 0644 "$share/$unit" "$UNITS/$unit.new"
            mv -T "$UNITS/$unit.new" "$UNITS/$unit"
        fi
    done
    install -d "${COMMAND%/*}"
    if [ -L "$COMMAND" ] || [ ! -e "$COMMAND" ]; then
        ln -sfn "$PREFIX/current/bin/gateway" "$COMMAND"
    else
        say "note: $COMMAND is another program and stays"
    fi
    systemctl daemon-reload
}

wanted() { systemctl is-enabled --quiet "$1" 2>/dev/null || systemctl is-active --quiet "$1"; }

services() { # those that should run
    local instance
    if wanted gateway.service; then echo gateway.service; fi
    for instance in $(instances); do
        if wanted "gateway@$instance.service"; then echo "gateway@$instance.service"; fi
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
        timeout 600 systemctl restart "$service" || { systemctl --no-pager --lines=0 status "$service" || true; return 1; }
    done
    [ $# -gt 0 ] || return 0
    before=$(systemctl show -P NRestarts "$@")
    sleep "$settle"
    [ -z "$(idle "$@")" ] && [ "$(systemctl show -P NRestarts "$@")" = "$before" ]
}

activate() {
    local before list due
    before=$(current)
    if [ -e "$SWITCHING" ]; then
        before=$(cat "$SWITCHING")
        say "the last switch was cut short; it came from release ${before:-none}"
    fi
    make_user
    check_configurations "$RELEASES/$version"
    warm "$RELEASES/$version"
    if [ "$before" != "$version" ]; then note "$SWITCHING" "$before"; fi
    if [ "$(current)" != "$version" ]; then
        link "$version"
        say "switched to release $version"
    fi
    copy_units "$version"
    local files=("$CONFIG"/*.yaml)
    if [ ${#files[@]} = 0 ]; then
        rm -f "$SWITCHING"
        first_steps
        return
    fi
    if [ -e "$CONFIG/gateway.yaml" ] && [ ! -e "$PREFIX/.enabled" ]; then # once: later the choice is the operator's
        systemctl enable --quiet gateway.service gateway.target
        touch "$PREFIX/.enabled"
    fi
    mapfile -t list < <(services)
    due=("${list[@]}")
    if [ ! -e "$SWITCHING" ]; then mapfile -t due < <(idle "${list[@]}"); fi
    restart_all "${due[@]}" || take_back "$before" "${list[@]}"
    if [ -n "$before" ] && [ "$before" != "$version" ]; then note "$PREFIX/previous" "$before"; fi
    rm -f "$SWITCHING"
    prune
    say "release $version runs: ${list[*]:-no unit is enabled}"
}

take_back() { # never returns
    local before=$1
    shift
    if [ -z "$before" ] || [ "$before" = "$version" ] || ! usable "$RELEASES/$before"; then
        die "release $version does not get ready: journalctl -u gateway"
    fi
    say "release $version does not get ready: taking release $before back" >&2
    link "$before"
    copy_units "$before"
    restart_all "$@" || die "release $before does not get ready either: journalctl -u gateway"
    rm -f "$SWITCHING"
    die "release $version was taken back; release $before runs again"
}

first_steps() {
    install -o root -g gateway -m 0640 "$RELEASES/$version/share/gateway/gateway.yaml.example" "$CONFIG/gateway.yaml.example"
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
        if [ "$name" != "$version" ] && [ "$name" != "$keep" ]; then discard "$release"; fi
    done
}

parse "$@"
need_root
lock
if [ "$dry" = yes ]; then
    say "would check every configuration with release $version and compile its kernels"
    before=$(current)
    say "would switch from release ${before:-none} to release $version and restart: $(services | paste -s -d ' ')"
    exit 0
fi
usable "$RELEASES/$version" || die "there is no usable release $version under $RELEASES"
activate
"$HERE/notes.sh"
