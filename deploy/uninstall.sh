#!/bin/bash
# Removes the edge gateway. Configuration, data and user stay until --purge.
set -euo pipefail
shopt -s nullglob

purge=no dry=no
die() { printf 'uninstall.sh: %s\n' "$*" >&2; exit 1; }
run() { if [ "$dry" = yes ]; then printf 'would run: %s\n' "$*"; else "$@"; fi; }

for option in "$@"; do
    case $option in
        --purge) purge=yes ;;
        --dry-run) dry=yes ;;
        -h | --help)
            echo "Usage: uninstall.sh [--purge] [--dry-run]"
            echo "  --purge  also delete /etc/gateway, /var/lib/gateway (undelivered readings!), drop-ins and the user"
            exit 0
            ;;
        *) die "unknown option $option" ;;
    esac
done
[ "$(id -u)" = 0 ] || die "run it as root: sudo $0"

mapfile -t units < <(systemctl list-units --all --plain --no-legend 'gateway@*.service' gateway.service gateway.target | cut -d ' ' -f 1)
for link in /etc/systemd/system/gateway.target.wants/gateway@*.service; do units+=("${link##*/}"); done
for unit in "${units[@]}"; do
    run systemctl disable --quiet --now "$unit" 2>/dev/null || true
done
run rm -f /etc/systemd/system/gateway.service /etc/systemd/system/gateway@.service /etc/systemd/system/gateway.target
run rm -f /usr/local/bin/gateway /etc/sysusers.d/gateway.conf
run systemctl daemon-reload
run rm -rf /opt/gateway /var/cache/gateway
if [ "$purge" = yes ]; then
    run rm -rf /etc/gateway /var/lib/gateway
    for drop_in in /etc/systemd/system/gateway.service.d /etc/systemd/system/gateway@*.service.d; do run rm -rf "$drop_in"; done
    if getent passwd gateway >/dev/null; then run userdel gateway; fi
    echo "The gateway is gone, with its configuration and data."
else
    echo "The gateway is gone. Configuration (/etc/gateway) and data (/var/lib/gateway) are still there; --purge deletes them."
fi
