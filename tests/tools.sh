#!/bin/sh
# Installs the programs the tests need (as root), or says which are missing and fails: nothing is skipped in silence.
set -eu
packages='mosquitto mosquitto-clients chromium chromium-driver nodejs shellcheck systemd systemd-container debootstrap zstd gcc libc6-dev libmodbus-dev libmosquitto-dev'
programs='mosquitto mosquitto_sub chromium node npm shellcheck systemd-analyze systemd-nspawn debootstrap zstd gcc'
command -v npm >/dev/null 2>&1 || packages="$packages npm" # where node came with its own, Debian's npm conflicts
missing=
for program in $programs; do
    command -v "$program" >/dev/null 2>&1 || [ -x "/usr/sbin/$program" ] || missing="$missing $program"
done
for header in modbus/modbus.h mosquitto.h; do
    [ -e "/usr/include/$header" ] || missing="$missing $header"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "missing:$missing; install them with: apt install $packages" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=120 -qq update
# shellcheck disable=SC2086  # a list of words
apt-get -o DPkg::Lock::Timeout=120 -qq install -y --no-install-recommends $packages >/dev/null
