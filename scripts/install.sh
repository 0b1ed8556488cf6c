#!/bin/sh
# Permanent install from this checkout: links in /usr/local/bin, systemd units, the group `ketch`.
set -eu
cd "$(dirname "$0")/.."
here=$(pwd)
[ "$(id -u)" = 0 ] || { echo "install: root is needed" >&2; exit 1; }
getent group ketch >/dev/null || groupadd --system ketch
for program in ketch ketchd ketch-runtime; do
    ln -sf "$here/.venv/bin/$program" "/usr/local/bin/$program"
done
[ -d /etc/systemd/system ] || { echo "install: no systemd here; start 'ketchd' by hand"; exit 0; }
for unit in packaging/systemd/*; do
    install -m 644 "$unit" /etc/systemd/system/
done
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable --now ketch.socket
fi
echo "install: done; members of the group 'ketch' may use the socket"
