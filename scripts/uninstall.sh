#!/bin/sh
# Take back what scripts/install.sh did. Images, volumes and configuration stay, unless --purge.
# Refuses while containers run: nothing would supervise them.
set -eu
purge=""
for word in "$@"; do
    case $word in
        --purge) purge=yes ;;
        *) echo "uninstall: unknown option $word (there is --purge)" >&2; exit 2 ;;
    esac
done
root=${DESTDIR:-}
[ -n "$root" ] || [ "$(id -u)" = 0 ] || { echo "uninstall: root is needed" >&2; exit 1; }
if [ -z "$root" ]; then
    if [ -d /run/systemd/system ]; then
        systemctl disable --now ketch.socket ketch.service 2>/dev/null || true
    fi
    . "$(dirname "$0")/own_daemon.sh"
    stop_own_daemon || exit 1
    # Ends the launcher, removes bridges, rules and cgroups; says so when containers run.
    [ ! -x /usr/local/bin/ketchd ] || /usr/local/bin/ketchd --cleanup || {
        [ ! -d /run/systemd/system ] || {
            systemctl enable --quiet ketch.service && systemctl enable --quiet --now ketch.socket
        } 2>/dev/null || true
        echo "uninstall: nothing was removed" >&2
        exit 1
    }
fi
rm -f "$root/etc/systemd/system/ketch.service" "$root/etc/systemd/system/ketch.socket"
for program in ketch ketchd ketch-runtime; do
    link="$root/usr/local/bin/$program"
    case $(readlink "$link" 2>/dev/null) in
        */.venv/bin/$program) rm -f "$link" ;;
    esac
done
if [ -n "$purge" ]; then
    rm -rf "$root/var/lib/ketch" "$root/run/ketch" "$root/etc/ketch"
fi
[ -z "$root" ] || exit 0
[ ! -d /run/systemd/system ] || systemctl daemon-reload
if getent group ketch >/dev/null; then
    groupdel ketch || echo "uninstall: the group 'ketch' stays: it is somebody's primary group" >&2
fi
[ -n "$purge" ] || echo "uninstall: done; /var/lib/ketch and /etc/ketch stay (--purge removes them)"
