"""What the daemon's configuration grants to builds that ask for more (``builder.entitlements``)."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from e2e.conftest import assert_clean, clean_up, load_busybox
from e2e.ketch_program import ketch
from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root


def test_what_is_granted_and_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\n"
        "RUN ! mount -t tmpfs none /tmp\n"
        "RUN --security=insecure mount -t tmpfs none /tmp && grep CapEff /proc/self/status\n"
    )
    daemon = Ketchd(Path(tempfile.mkdtemp(prefix="ketch-e2e-")))
    granted = {"security-insecure": True, "network-host": False}
    (daemon.folder / "daemon.json").write_text(json.dumps({"builder": {"entitlements": granted}}))
    folder = str(tmp_path)
    build = ("build", "--progress", "plain", "--no-cache")
    try:
        daemon.start()
        load_busybox(daemon)
        ketch(daemon, *build, "--allow", "security.insecure", folder)
        asked = ketch(daemon, *build, folder, code=1).stderr.decode()
        assert "security.insecure is not allowed: build with --allow security.insecure" in asked
        refused = ketch(daemon, *build, "--allow", "network.host", folder, code=1).stderr.decode()
        assert "granting entitlement network.host is not allowed by build daemon conf" in refused
        assert "builder.entitlements.network-host" in refused
        daemon.shutdown_everything()
        assert_clean(daemon)
    finally:
        clean_up(daemon)
