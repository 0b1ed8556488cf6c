"""``ketch`` with no daemon running starts one, at the places a user has.

The default directories are private to the test: mounts in a mount namespace of its own.
"""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

import pytest

from e2e.ketch_program import KETCH

pytestmark = pytest.mark.root

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
SCRIPT = """
set -e
mount --make-rprivate /
for path in /run /var/lib /etc; do
    mkdir -p "$WORK/upper$path" "$WORK/work$path"
    layers="lowerdir=$path,upperdir=$WORK/upper$path,workdir=$WORK/work$path"
    mount -t overlay overlay -o "$layers" $path
done
mkdir -p /run/ketch /var/lib/ketch /etc/ketch
mount --bind "$WORK" /var/lib/ketch
printf '{"bridge": "%s", "nft-table": "%s", "cgroup-parent": "/%s"}' "$TAG" "$TAG" "$TAG" \
    > /etc/ketch/daemon.json
unset KETCH_HOST DOCKER_HOST
clean() {
    kill "$(cat /run/ketch/ketchd.pid)"
    for _ in $(seq 100); do
        "$(dirname "$KETCH")/ketchd" --cleanup && return
        sleep 0.05
    done
}
trap clean EXIT
"$KETCH" image bootstrap busybox
"$KETCH" run --rm busybox echo it just works
"$KETCH" version --format '{{.Server.Version}}'
"""


SERVICE = r"""
mkdir -p /run/systemd/system /etc/systemd/system "$WORK/bin"
touch /etc/systemd/system/ketch.socket
cat > "$WORK/bin/systemctl" <<END
#!/bin/sh
echo "systemctl \$*" >&2
"$(dirname "$KETCH")/ketchd" >/dev/null 2>&1 &
until [ -S /run/ketch/ketch.sock ]; do sleep 0.02; done
END
chmod 755 "$WORK/bin/systemctl"
PATH=$WORK/bin:$PATH
"""


def test_a_service_is_started(tmp_path: Path) -> None:
    """Where units are installed, a daemon of our own would be in the way of systemd's."""
    before, mark, after = SCRIPT.partition('"$KETCH" image')
    tag = f"kt{secrets.token_hex(3)}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", before + SERVICE + mark + after],
        env={"PATH": PATH, "WORK": str(tmp_path), "TAG": tag, "KETCH": KETCH},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines().count("systemctl start ketch.socket") == 1
    assert "it just works" in done.stdout


def test_a_daemon_is_started(tmp_path: Path) -> None:
    tag = f"kt{secrets.token_hex(3)}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", SCRIPT],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "WORK": str(tmp_path),
            "TAG": tag,
            "KETCH": KETCH,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "it just works" in done.stdout


def test_only_root_can_start_one() -> None:
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run; exec "$@"', "sh", "setpriv",
         "--reuid", "65534", "--clear-groups", KETCH, "ps"],
        capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": PATH},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("no ketch daemon answers at unix:///run/ketch/ketch.sock")
