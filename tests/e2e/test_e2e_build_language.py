"""The Dockerfile's language through the daemon: checks, questions, excerpts of errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildkit.buildx import Buildx
from e2e.ketch_program import ketch
from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root

QUESTIONABLE = """# base for the rest
FROM busybox AS base
ARG TOKEN
FROM base
COPY x.log /
CMD echo $HOME
"""


def folder(tmp_path: Path, text: str) -> str:
    (tmp_path / "Dockerfile").write_text(text)
    return str(tmp_path)


def said(daemon: Ketchd, *words: str) -> tuple[int, str, str]:
    done = ketch(daemon, *words, code=None)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_check_and_call(ketchd: Ketchd, tmp_path: Path) -> None:
    where = folder(tmp_path, QUESTIONABLE)
    code, out, _ = said(ketchd, "build", "--check", where)
    assert code == 1
    assert "Check complete, 2 warnings found!" in out
    assert "WARNING: SecretsUsedInArgOrEnv - https://docs.docker.com/go/" in out
    assert "   3 | >>> ARG TOKEN\n" in out
    assert "Suggestion: RUN --mount=type=secret" in out
    code, out, _ = said(ketchd, "build", "--call=targets,format=json", where)
    names = [target["name"] for target in json.loads(out)["targets"]]
    assert (code, names) == (0, ["base", ""])
    assert "BUILD ARG" in said(ketchd, "build", "--call=outline", where)[1]
    code, _, err = said(ketchd, "build", "--call=nonsense", where)
    assert (code, "invalid --call 'nonsense'" in err) == (1, True)
    good = folder(tmp_path, "FROM busybox\nENV x=$PATH\n")
    assert said(ketchd, "build", "--check", good)[:2] == (
        0,
        "Check complete, no warnings found.\n",
    )
    (tmp_path / ".dockerignore").write_text("*.log\n")
    ignoring = folder(tmp_path, "# check=experimental=all\nFROM busybox\nCOPY x.log /\n")
    assert "CopyIgnoredFile" in said(ketchd, "build", "--check", ignoring)[1]
    broken = said(ketchd, "build", "--check", folder(tmp_path, "FROM busybox\nRUM x\n"))
    assert (broken[0], "   2 | >>> RUM x" in broken[1]) == (1, True)
    baseless = said(ketchd, "build", "--check", folder(tmp_path, "ARG BASE\nFROM $BASE as x\n"))
    assert (baseless[0], "FromAsCasing" in baseless[1]) == (1, True)
    assert "should not be blank" in baseless[1]


def test_warnings_and_excerpts_of_a_build(ketchd: Ketchd, tmp_path: Path) -> None:
    text = "FROM busybox\nENV a=$nope\n# why\nRUN echo fine && \\\n  exit 3\nCMD echo\n"
    code, _, err = said(ketchd, "build", "--progress=plain", folder(tmp_path, text))
    assert code == 3
    assert "UndefinedVar" in err
    assert "JSONArgsRecommended" in err
    assert (
        "Dockerfile:4\n--------------------\n   2 |     ENV a=$nope\n   3 |     # why\n"
        "   4 | >>> RUN echo fine && \\\n   5 | >>>   exit 3\n   6 |     CMD echo\n" in err
    )
    code, _, err = said(ketchd, "build", folder(tmp_path, "FROM busybox\nCOPY nothing /\n"))
    assert (code, "   2 | >>> COPY nothing /\n" in err) == (1, True)
    code, _, err = said(ketchd, "build", folder(tmp_path, "FROM busybox\nCPOY a /\n"))
    assert (code, "   2 | >>> CPOY a /\n" in err, "did you mean COPY?" in err) == (1, True, True)


@pytest.fixture
def buildx(ketchd: Ketchd, tmp_path: Path) -> Buildx:
    client = Buildx(str(ketchd.socket))
    client.directories = {"context": tmp_path, "dockerfile": tmp_path}
    return client


async def test_subrequests(buildx: Buildx, tmp_path: Path) -> None:
    folder(tmp_path, QUESTIONABLE)
    for request in ("frontend.lint", "frontend.targets", "frontend.subrequests.describe"):
        attrs = {"requestid": request, "frontend.caps": "moby.buildkit.frontend.subrequests"}
        async with buildx.connected():
            outcome = await buildx.build(attrs)
        metadata = outcome.driven.metadata
        assert metadata["version"] == b"1.0.0"
        document = json.loads(metadata["result.json"])
        if request == "frontend.lint":
            assert [found["ruleName"] for found in document["warnings"]] == [
                "SecretsUsedInArgOrEnv",
                "JSONArgsRecommended",
            ]
            assert metadata["result.statuscode"] == b"1"
            assert b"SecretsUsedInArgOrEnv" in metadata["result.txt"]
        elif request == "frontend.subrequests.describe":
            kinds = {found["name"]: found["opts"] for found in document}
            assert kinds["frontend.outline"][0]["name"] == "target"
        assert outcome.response == {}
    assert "x.log" not in buildx.sent
    folder(tmp_path, "# check=error=true\nFROM busybox\nCMD x\n")
    async with buildx.connected():
        outcome = await buildx.build({"requestid": "frontend.lint"})
    failed = json.loads(outcome.driven.metadata["result.json"])["buildError"]["message"]
    assert failed == "lint violation found for rules: JSONArgsRecommended"


@pytest.mark.parametrize(
    ("text", "line"),
    [("FROM busybox\nRUM x\n", 2), ("FROM busybox\n\nRUN exit 4\n", 3), ("FROM $x\n", 1)],
)
async def test_errors_carry_their_source(
    buildx: Buildx, tmp_path: Path, text: str, line: int
) -> None:
    folder(tmp_path, text)
    async with buildx.connected():
        outcome = await buildx.build({"no-cache": ""})
    details = dict(outcome.driven.details)  # a failed RUN also has its states (errdefs.Solve)
    document = json.loads(details["github.com/moby/buildkit/errdefs.Source+json"])
    assert document["info"]["filename"] == "Dockerfile"
    assert document["ranges"][0]["start"]["line"] == line
    assert "-----" not in (outcome.driven.message or "")


async def test_warnings_of_buildkit(buildx: Buildx, tmp_path: Path) -> None:
    folder(tmp_path, "FROM busybox\nCMD echo\n")
    async with buildx.connected():
        outcome = await buildx.build({})
    (warning,) = outcome.warnings
    assert warning.short.startswith(b"JSONArgsRecommended: ")
    assert warning.short.endswith(b"(line 2)")
    assert warning.url.endswith("/json-args-recommended/")


async def test_linked_dockerfile_and_ignore_file(buildx: Buildx, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/Dockerfile.main").write_text("FROM busybox\nCOPY . /src\nRUN ls /src\n")
    (tmp_path / "rules/ignore").write_text("*.key\n")
    (tmp_path / "Dockerfile").symlink_to("rules/Dockerfile.main")
    (tmp_path / ".dockerignore").symlink_to("/rules/ignore")
    (tmp_path / "secret.key").write_text("never sent")
    async with buildx.connected():
        outcome = await buildx.build({"no-cache": ""})
    assert "rules\n" in outcome.logs
    assert "secret.key" not in outcome.logs
    assert "secret.key" not in buildx.sent


def test_a_short_word_is_a_name_and_no_begin_of_an_id(ketchd: Ketchd, tmp_path: Path) -> None:
    """``FROM cafe`` must not build on whatever image has such an ID."""
    digits = ketchd.out("image", "inspect", "-f", "{{.Id}}", "busybox").partition(":")[2]
    code, _, err = said(ketchd, "build", folder(tmp_path, f"FROM {digits[:6]}\nRUN true\n"))
    assert (code, digits[:6] in err) == (1, True)
    assert said(ketchd, "build", folder(tmp_path, f"FROM {digits[:12]}\nRUN true\n"))[0] == 0
    ketchd.docker("tag", "busybox", digits[:6])
    assert said(ketchd, "build", folder(tmp_path, f"FROM {digits[:6]}\nRUN true\n"))[0] == 0
    ketchd.docker("rmi", f"{digits[:6]}:latest")
