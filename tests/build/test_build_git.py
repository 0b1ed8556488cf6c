"""git as a worker runs it, where a test can't well have a server that misbehaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from ketch.build.tasks import git
from ketch.errors import InvalidParameter


def test_a_server_that_talks_without_end_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says (``remote: …``) git repeats; the end of it is told."""
    monkeypatch.setattr(git, "_MOST_SAID", 10_000)
    program = tmp_path / "git"
    program.write_text(
        "#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' a >&2\necho the end >&2\n"
        "head -c 300000 /dev/zero | tr '\\0' b\nexit 7\n"
    )
    program.chmod(0o755)
    (tmp_path / "repo").mkdir()
    args = {"url": "https://example.com/x.git", "known_hosts": "", "agent": "", "headers": {}}
    repository = git._Git(str(tmp_path), args)
    repository._environment["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    done = repository._start(("fetch",))
    assert (done.returncode, len(done.stdout), len(done.stderr)) == (7, 10_000, 10_000)
    with pytest.raises(InvalidParameter) as raised:
        repository._run("fetch")
    assert str(raised.value).endswith("aaathe end")
    assert len(str(raised.value)) < 2200
