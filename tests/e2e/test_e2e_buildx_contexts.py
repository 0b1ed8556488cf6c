"""What of its directories the real buildx has to send."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from e2e.buildx_client import Buildx

pytestmark = pytest.mark.root

SMALL = 20_000  # bytes
UNRELATED = 3_000_000


def sent(text: str) -> list[float]:
    """Bytes of every transfer of a context, in order."""
    found = re.findall(r"transferring (?:context|near): ([0-9.]+)(B|kB|MB)", text)
    return [float(number) * {"B": 1, "kB": 1e3, "MB": 1e6}[unit] for number, unit in found]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text.removeprefix("-> "))
        else:
            path.write_text(text)


DOCKERFILE = """\
FROM busybox AS one
ARG DIR=src
COPY $DIR /src/
COPY ["pack*.json", "ü x", "/json/"]
COPY --exclude=*.md docs /docs/
COPY --parents packages/**/p.json /tree/
FROM one
COPY --from=near n /near
COPY excepted /excepted/
RUN --mount=type=bind,source=bound,target=/m cat /m/b > /bound
CMD cd / && find src json docs tree near exc* bound -type f -print0 | sort -z | xargs -0 tail -n 2
"""
EXPECTED = {
    "src/s": "s",
    "json/package.json": "1",
    "json/package-lock.json": "2",
    "json/ü x": "u",
    "docs/d.txt": "d",
    "tree/packages/a/p.json": "a",
    "tree/packages/deep/er/p.json": "e",
    "near": "n",
    "excepted/kept": "k",
    "bound": "b",
}


def test_only_what_steps_name_is_sent(each_buildx: Buildx, tmp_path: Path) -> None:
    context, near, outside = tmp_path / "context", tmp_path / "near", tmp_path / "D"
    unrelated = "x" * UNRELATED
    write(
        context,
        {
            "src/s": "s", "package.json": "1", "package-lock.json": "2", "ü x": "u",
            "docs/d.txt": "d", "docs/d.md": "m", "bound/b": "b",
            "packages/a/p.json": "a", "packages/deep/er/p.json": "e",
            "excepted/kept": "k", "excepted/gone": "g", "unrelated/file": unrelated,
            ".dockerignore": "excepted\n!excepted/kept\nÄ*\n",
        },
    )  # fmt: skip
    write(near, {"n": "n", "unrelated": unrelated})
    outside.write_text(DOCKERFILE)
    words = ("-t", "sent", "-f", str(outside), "--build-context", f"near={near}", str(context))
    done = each_buildx.build("--no-cache", *words)
    assert sum(sent(done.stderr)) < SMALL, done.stderr
    shown = each_buildx.docker("run", "--rm", "sent").stdout
    found = dict(re.findall(r"==> (.*) <==\n(.*)", shown))
    assert found == EXPECTED


def test_files_are_sent_while_earlier_steps_run(buildx: Buildx, tmp_path: Path) -> None:
    write(tmp_path, {"f": "f", "Dockerfile": "FROM busybox\nRUN sleep 0.4\nCOPY f /\n"})
    done = buildx.build("--no-cache", str(tmp_path))
    number = re.search(r"^#(\d+) .*RUN sleep", done.stderr, re.MULTILINE)
    assert number is not None
    ran = done.stderr.index(f"#{number[1]} DONE")
    assert done.stderr.index("load build context") < ran, done.stderr


def test_more_is_sent_when_it_turns_out_to_be_wanted(buildx: Buildx, tmp_path: Path) -> None:
    """Base images bring variables and triggers, and links lead elsewhere."""
    write(
        tmp_path,
        {
            "triggered/t": "t", "of-base/v": "v", "a/link": "-> ../b", "b/f": "f", "c/f": "c",
            "unrelated/file": "x" * UNRELATED,
            "B": "FROM busybox\nENV D=of-base\nONBUILD COPY triggered /t/\n",
            "D": "FROM wants-more\nENV E=${D}/v\nCOPY $E /v/\nCOPY a/link/f /f\nRUN cat /t/t /v/v",
            "L": "FROM busybox\nCOPY c/f /c\nCOPY */link/f /f\nRUN cat /c /f",
            "real/y": "y", "real/z": "z", "a0": "-> real", "b0": "-> a0",
            "S": "FROM busybox\nCOPY a0/y /\nCOPY a0/z /\nCOPY b0 /d\nRUN cat /y /z /d/z",
            "M": "FROM busybox\nCOPY c/f /c\nCOPY c/mistaken /\n",
        },
    )  # fmt: skip
    buildx.build("-t", "wants-more", "-f", str(tmp_path / "B"), str(tmp_path))
    done = buildx.build("--no-cache", "-f", str(tmp_path / "D"), str(tmp_path))
    assert "tv" in done.stderr
    done = buildx.build("--no-cache", "-f", str(tmp_path / "L"), str(tmp_path))
    assert re.search(r"^#\d+ [0-9.]+ cf$", done.stderr, re.MULTILINE), done.stderr
    assert "load build context, all of it" in done.stderr
    done = buildx.build("--no-cache", "-f", str(tmp_path / "S"), str(tmp_path))
    assert re.search(r"^#\d+ [0-9.]+ yzz$", done.stderr, re.MULTILINE), done.stderr
    done = buildx.build("-f", str(tmp_path / "M"), str(tmp_path), code=1)
    assert '"/c/mistaken": not found' in done.stderr
    assert sum(sent(done.stderr)) < SMALL
