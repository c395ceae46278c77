# Shared by the scripts of this repository; sourced, not run.
# shellcheck shell=bash

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

die() {
    printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

apt_updated=
# apt PACKAGE... : installs where that is possible, and says what is missing where it is not.
apt() {
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        die "missing on this machine: $* (Debian's package names). Install it, or run this as root on Debian or Ubuntu"
    fi
    say "installing $* with apt-get"
    if [ -z "$apt_updated" ]; then
        DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 </dev/null || die "apt-get update failed"
        apt_updated=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 </dev/null ||
        die "apt-get could not install $*"
    hash -r
}

# A slim image has none, and without it no process can be told from another that has got its number.
need_ps() { command -v ps >/dev/null || apt procps; }
