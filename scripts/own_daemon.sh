# To be sourced: ends a daemon that `ketch` started by itself, which holds the socket and the data root.
# Containers go on, for the next daemon to adopt.
stop_own_daemon() {
    pid=$(cat /run/ketch/ketchd.pid 2>/dev/null) || return 0
    [ "$pid" != "$(systemctl show --property MainPID --value ketch.service 2>/dev/null)" ] || return 0
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -q '/ketchd$' || return 0
    kill "$pid"
    for _ in $(seq 100); do
        [ -d "/proc/$pid" ] || return 0
        sleep 0.1
    done
    echo "ketchd (pid $pid) does not end: stop it, then try again" >&2
    return 1
}
