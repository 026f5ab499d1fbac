#!/bin/bash
# What the administrator of this machine should know, a line each; nothing where all is well. ROOT stands for /.
set -euo pipefail
shopt -s nullglob

case ${1:-} in
    -h | --help) echo "Usage: notes.sh [ROOT]"; exit 0 ;;
    -*) echo "notes.sh: unknown option $1" >&2; exit 1 ;;
esac
root=${1:-}
root=${root%/}

say() { printf 'note: %s\n' "$*"; }
is_pi() { grep -aqs 'Raspberry Pi' "$root/proc/device-tree/model"; }

memory() {
    local controllers=$root/sys/fs/cgroup/cgroup.controllers
    if [ ! -e "$controllers" ] || grep -qw memory "$controllers"; then return; fi
    if is_pi; then
        say "this kernel ignores memory limits: add cgroup_enable=memory to the line in /boot/firmware/cmdline.txt and reboot"
    else
        say "this kernel ignores memory limits: MemoryMax= of the unit has no effect"
    fi
}

watchdog() { # against a hung kernel; the Raspberry Pi's chip counts to 16 seconds, a longer time resets it in a loop
    [ -e "$root/dev/watchdog" ] || return 0
    local set='' line file
    for file in "$root/etc/systemd/system.conf" "$root"/{usr/lib,etc}/systemd/system.conf.d/*.conf; do
        line=$(grep -sE '^RuntimeWatchdogSec=' "$file" | tail -n 1) || continue
        set=${line#*=}
    done
    case $set in
        '' | 0 | off | infinity) say "nothing resets this machine when its kernel hangs: set RuntimeWatchdogSec=15s in /etc/systemd/system.conf" ;;
        *)
            if is_pi && ! [[ $set =~ ^([1-9]|1[0-5])(s|sec)?$ ]]; then
                say "RuntimeWatchdogSec=$set is longer than a Raspberry Pi's watchdog counts (16 s): set 15s, or it may reset in a loop"
            fi
            ;;
    esac
}

serial() { # ttyUSB0 is whichever adapter was found first
    local file port link name
    for file in "$root"/etc/gateway/*.yaml; do
        while read -r port; do
            name='/dev/serial/by-id/...'
            for link in "$root"/dev/serial/by-id/*; do
                if [ "$(basename "$(readlink "$link")")" = "$port" ]; then name=${link#"$root"}; fi
            done
            say "${file#"$root"} names /dev/$port, which may be another adapter after a restart: use $name"
        done < <(grep -ohE '^[^#]*/dev/tty(USB|ACM)[0-9]+' "$file" | grep -oE 'tty(USB|ACM)[0-9]+' | sort -u)
    done
}

memory
watchdog
serial
