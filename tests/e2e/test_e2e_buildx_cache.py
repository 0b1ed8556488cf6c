"""``docker buildx du`` and ``prune``, and what they leave to the next build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.buildx_client import Buildx
from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root


def records(client: Buildx, *words: str) -> dict[str, dict[str, object]]:
    """By what they are described as."""
    lines = client.docker("buildx", "du", "--format", "json", *words).stdout.splitlines()
    return {str(found["Description"]): found for found in map(json.loads, lines)}


def test_what_there_is_and_what_goes(ketchd: Ketchd, buildx: Buildx, tmp_path: Path) -> None:
    ketchd.docker("builder", "prune", "-af")
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS dropped\nRUN echo dropped | tee /dropped >/other\n"
        "FROM busybox AS kept\nENV A=b\nRUN --mount=type=cache,target=/c echo kept >/c/f >/kept\n"
        "FROM kept\nCOPY --from=dropped /dropped /\n"
    )
    buildx.build("-t", "cached", str(tmp_path))
    found = records(buildx)
    dropped, kept = "[dropped 2/2] RUN echo dropped | tee /dropped >/other", "[kept 2/2] RUN "
    assert not found[dropped]["Shared"]
    assert found[dropped]["Size"] == "16B"
    assert any(name.startswith(kept) and found[name]["Shared"] for name in found)
    (mount,) = records(buildx, "--filter", "type=exec.cachemount").values()
    assert mount["Mutable"]
    assert list(records(buildx, "--filter", "description~=echo dropped")) == [dropped]
    assert not records(buildx, "--filter", "description=echo dropped")  # it would be all of it
    (ran,) = (each for name, each in found.items() if name.startswith(kept))
    (copied,) = records(buildx, "--filter", f"parents={ran['ID']}").values()
    assert (copied["Parents"], ran["Parents"]) == ([ran["ID"]], None)
    assert "COPY --from=dropped" in str(copied["Description"])
    buildx.build(str(tmp_path))
    assert int(str(records(buildx)[dropped]["UsageCount"])) == 2
    (named,) = records(buildx, "--filter", f"id={str(mount['ID'])[:9]}").values()
    assert named["ID"] == mount["ID"]
    told = buildx.docker("buildx", "du", "--verbose").stdout
    assert f"ID:           {found[dropped]['ID']}\n" in told
    assert "Reclaimable:\t" in told

    # an image's own steps stay unless all is to go, so that its next build finds them
    assert buildx.docker("buildx", "prune", "-f", "--filter", "until=1h").stdout == "Total:\t0B\n"
    amounts = ("--max-used-space", "1gb", "--min-free-space", "1kb", "--reserved-space", "1mb")
    assert buildx.docker("buildx", "prune", "-f", *amounts).stdout == "Total:\t0B\n"
    gone = buildx.docker("buildx", "prune", "-f").stdout
    assert str(found[dropped]["ID"]) in gone
    assert str(mount["ID"]) in gone
    assert "Total:\t" in gone
    image = ketchd.out("inspect", "-f", "{{.Id}}", "cached")
    again = buildx.build("-t", "cached", str(tmp_path)).stderr
    for step in ("RUN --mount", "COPY --from"):
        (number,) = {line.split()[0] for line in again.splitlines() if f" {step}" in line}
        assert f"{number} CACHED" in again
    assert ketchd.out("inspect", "-f", "{{.Id}}", "cached") == image  # ENV is not of now either
    ketchd.docker("builder", "prune", "-af")
    assert not records(buildx)
    ketchd.docker("rmi", "cached")
