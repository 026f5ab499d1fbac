#!/bin/bash
# Removes the edge gateway. Configuration, data and user stay until --purge; drop-ins of the units are never touched.
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=deploy/common.sh
. "$HERE/common.sh"
cd /

purge=no
for option in "$@"; do
    case $option in
        --purge) purge=yes ;;
        --dry-run) dry=yes ;;
        -h | --help)
            echo "Usage: uninstall.sh [--purge] [--dry-run]"
            echo "  --purge  also delete $CONFIG, $STATE (undelivered readings!) and the user"
            exit 0
            ;;
        *) die "unknown option $option" ;;
    esac
done
need_root
if [ -z "${DPKG_MAINTSCRIPT_PACKAGE:-}" ]; then
    state=$(dpkg-query --show --showformat '${db:Status-Abbrev}' edge-gateway 2>/dev/null || true)
    case $state in ?i*) die "it was installed as a package: apt remove edge-gateway, or apt purge edge-gateway" ;; esac
    lock
fi

mapfile -t units < <(systemctl list-units --all --plain --no-legend 'gateway@*.service' gateway.service gateway.target | cut -d ' ' -f 1)
for link in "$UNITS"/gateway.target.wants/gateway@*.service; do units+=("${link##*/}"); done
for unit in "${units[@]}"; do
    run systemctl disable --quiet --now "$unit" 2>/dev/null || true
    run systemctl reset-failed "$unit" 2>/dev/null || true
done
run rm -f "$UNITS/gateway.service" "$UNITS/gateway@.service" "$UNITS/gateway.target"
if [ "$(readlink "$COMMAND")" = "$PREFIX/current/bin/gateway" ]; then run rm -f "$COMMAND"; fi
run rm -f /etc/sysusers.d/gateway.conf
run systemctl daemon-reload
run rm -rf "$CACHE"
if [ "$purge" = yes ]; then
    run rm -rf "$CONFIG" "$STATE"
    if getent passwd gateway >/dev/null; then run userdel gateway; fi
fi
run rm -rf "$PREFIX" # last: this very script may lie there
if [ "$dry" = yes ]; then exit 0; fi
if [ "$purge" = yes ]; then
    say "The gateway is gone, with its configuration and data."
else
    say "The gateway is gone. Configuration ($CONFIG) and data ($STATE) are still there; --purge deletes them."
fi
for folder in "$UNITS"/gateway{,@*}.service.d; do say "note: your drop-ins in $folder are still there"; done
