# Sourced by install.sh, activate.sh and uninstall.sh: where things are, how they speak, the lock they share.
# shellcheck shell=bash disable=SC2034  # used by those
set -euo pipefail
shopt -s nullglob

PREFIX=/opt/gateway
RELEASES=$PREFIX/releases
SWITCHING=$PREFIX/switching # see activate.sh
CONFIG=/etc/gateway
SIGNERS=${SIGNERS:-$CONFIG/release-signers} # whose releases this machine takes; everybody's where there is no such file
STATE=/var/lib/gateway
CACHE=/var/cache/gateway
UNITS=/etc/systemd/system
COMMAND=/usr/local/bin/gateway
ME=${0##*/}

dry=no told=no

say() { printf '%s\n' "$*"; }
die() { told=yes; printf '%s: %s\n' "$ME" "$*" >&2; exit 1; }
run() { if [ "$dry" = yes ]; then say "would run: $*"; else "$@"; fi; }
trap 'if [ $? != 0 ] && [ $told = no ]; then printf "%s: did not come to its end: run it again\n" "$ME" >&2; fi' EXIT

need_root() { [ "$(id -u)" = 0 ] || die "run it as root: sudo $0"; }

lock() { # also through exec: a program that inherits the lock takes it again
    [ "$dry" = no ] || return 0
    exec 9>/run/lock/gateway-install.lock
    flock -n 9 || die "another install.sh or uninstall.sh is running"
}

# A release is complete, and its Python runs it: a newer Debian has another Python.
usable() { [ -e "$1/.complete" ] && "$1/bin/python" -I -c 'import gateway.config' 2>/dev/null; }

discard() { # the marker first: half a release must not look like one
    run rm -f "$1/.complete"
    run rm -rf "$1"
}

current() { if [ -L "$PREFIX/current" ]; then basename "$(readlink "$PREFIX/current")"; fi; }
