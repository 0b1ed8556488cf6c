#!/bin/sh
# Permanent install from this checkout: links in /usr/local/bin, systemd units, the group `ketch`.
# With DESTDIR set, only puts the files there (for packages). scripts/uninstall.sh takes all back.
set -eu
cd "$(dirname "$0")/.."
. scripts/own_daemon.sh
here=$(pwd)
root=${DESTDIR:-}
[ -n "$root" ] || [ "$(id -u)" = 0 ] || { echo "install: root is needed" >&2; exit 1; }
for program in ketch ketchd ketch-runtime; do
    [ -x "$here/.venv/bin/$program" ] || { echo "install: run 'make setup' first" >&2; exit 1; }
done
mkdir -p "$root/usr/local/bin"
for program in ketch ketchd ketch-runtime; do
    ln -sf "$here/.venv/bin/$program" "$root/usr/local/bin/$program"
done
if [ -n "$root" ]; then
    mkdir -p "$root/etc/systemd/system"
elif ! getent group ketch >/dev/null; then
    groupadd --system ketch
fi
if [ ! -d "$root/etc/systemd/system" ]; then
    echo "install: no systemd here; start 'ketchd' by hand"
    exit 0
fi
for unit in ketch.service ketch.socket; do
    install -m 644 "packaging/systemd/$unit" "$root/etc/systemd/system/"
done
[ -z "$root" ] || exit 0
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    stop_own_daemon || exit 1
    systemctl enable --now ketch.socket
    systemctl enable --quiet ketch.service # at boot, for containers with a restart policy
fi
echo "install: done; members of the group 'ketch' may use the socket"
