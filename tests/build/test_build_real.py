"""Builds with real processes, mounts and layers."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from build.real import NEEDS, Bench, context, is_zombie
from ketch.build.dockerfile.source import DockerfileError
from ketch.build.request.options import BuildLimits, BuildOptions, BuildOutput
from ketch.engine.builder.contexts.source import TarSource
from ketch.engine.builder.workers import BuildWorkers
from ketch.engine.containers.pool import Member
from ketch.errors import InvalidParameter, KetchError

pytestmark = NEEDS


async def test_run_makes_a_layer_of_what_it_changed(bench: Bench) -> None:
    built = await bench.build("FROM busybox\nRUN echo hi > /a && echo out && echo err >&2\n")
    assert bench.names(built["layers"][1]) == ["a"]
    assert "out\n" in bench.text
    assert "\x1b[91merr\n\x1b[0m" in bench.text
    assert "Successfully built" in bench.text


async def test_run_that_changes_nothing_makes_no_layer(bench: Bench) -> None:
    built = await bench.build("FROM busybox\nRUN cat /etc/hosts\nRUN exit 0\n")
    assert len(built["layers"]) == 1
    assert [line.empty_layer for line in built["config"].history] == [True, True]


async def test_deleting_makes_whiteouts(bench: Bench) -> None:
    built = await bench.build("FROM busybox\nRUN mkdir /d && echo 1 > /d/a\nRUN rm /d/a\n")
    assert bench.names(built["layers"][2]) == ["d", "d/.wh.a"]


async def test_failing_run(bench: Bench) -> None:
    with pytest.raises(AssertionError):
        await bench.build("FROM busybox\nRUN echo 1 > /a\nRUN exit 3\n")
    last = bench.outputs[-1]
    assert last.error == "The command '/bin/sh -c exit 3' returned a non-zero code: 3"
    assert last.code == 3


async def test_missing_program(bench: Bench) -> None:
    with pytest.raises(AssertionError):
        await bench.build('FROM busybox\nRUN ["/nope"]\n')
    assert "/nope" in bench.outputs[-1].error


async def test_environment_user_and_directory(bench: Bench) -> None:
    await bench.build(
        "FROM busybox\nARG a=1\nENV b=2\nWORKDIR /w/x\nUSER guest\n"
        'RUN echo "$a $b $PWD $(id -u):$(id -g)"\n'
    )
    assert "1 2 /w/x 1000:100\n" in bench.text


async def test_copy(bench: Bench) -> None:
    built = await bench.build(
        "FROM busybox\nCOPY d/ /x/\nCOPY --chown=guest --chmod=600 a /y/b\nRUN cat /x/in /y/b\n",
        {"a": b"AAA\n", "d/in": b"IN\n"},
    )
    assert "IN\nAAA\n" in bench.text
    first, second = (bench.members(layer) for layer in built["layers"][1:])
    assert sorted(first) == ["x", "x/in"]
    assert (first["x/in"].uid, first["x/in"].mode) == (0, 0o644)
    assert (second["y/b"].uid, second["y/b"].gid, second["y/b"].mode) == (1000, 100, 0o600)


async def test_a_context_is_copied_by_the_worker_that_received_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By no other one; and with it the layers are those that others write."""
    asked: list[str] = []
    work = bench.launcher.work

    async def noted(task: str, *args: object, **more: object) -> object:
        asked.append(task.partition(":")[2])
        return await work(task, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.launcher, "work", noted)
    text = "FROM busybox\nCOPY a /x/\nCOPY . /y\nCOPY --chown=7 d /bin\nCOPY l /z/\n"
    files = {"a": b"A" * 70_000, "d/in": b"IN\n", "d/sh": b"no link any more", "l": ("link", "a")}
    options = BuildOptions(no_cache=True, build_args={"SOURCE_DATE_EPOCH": "1700000000"})
    quick = await bench.build(text, files, options=options)
    assert asked.count("layer") == 1  # of what a link leads to
    monkeypatch.setattr(BuildWorkers, "has_in_memory", lambda *_: False)
    others = await bench.build(text, files, options=options)
    assert asked.count("layer") == 1 + 4
    assert quick["layers"] == others["layers"]
    assert len(quick["layers"]) == 1 + 4
    assert bench.leftovers() == []


async def test_a_worker_that_dies_with_the_tree_below_fails_the_build_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lend = bench.launcher.lend

    async def lend_and_kill(rootfs: object) -> int:
        lent = await lend(rootfs)  # type: ignore[arg-type]
        nursery, *_ = children((await bench.launcher.hello())["pid"], "ketch-nursery")
        workers = children(nursery)
        os.kill(nursery, signal.SIGKILL)
        while not all(map(is_zombie, workers)):
            await asyncio.sleep(0.002)
        return lent

    monkeypatch.setattr(bench.launcher, "lend", lend_and_kill)
    await bench.build("FROM busybox\nCOPY a /x/\n", {"a": b"A"}, fails=True)
    assert "died" in bench.outputs[-1].error
    monkeypatch.undo()
    await bench.build("FROM busybox\nCOPY a /x/\n", {"a": b"A"})
    assert bench.leftovers() == []


def children(pid: int, name: str = "") -> list[int]:
    """Pids of the children of a process, those of a name if there is one."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    pids = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return [one for one in pids if not name or Path(f"/proc/{one}/comm").read_text() == f"{name}\n"]


async def test_copy_between_stages(bench: Bench) -> None:
    built = await bench.build(
        "FROM busybox AS one\nRUN mkdir /o && echo one > /o/f\n"
        "FROM scratch\nCOPY --from=one /o /p\nCOPY --from=busybox /bin/busybox /b\n"
    )
    assert bench.names(built["layers"][0]) == ["p", "p/f"]
    assert bench.names(built["layers"][1]) == ["b"]


async def test_add_unpacks_archives(bench: Bench) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        info = tarfile.TarInfo("in/f")
        info.size, info.uid = 2, 7
        tar.addfile(info, io.BytesIO(b"f\n"))
    built = await bench.build(
        "FROM busybox\nADD a.tgz /x/\nCOPY a.tgz /y/\n", {"a.tgz": out.getvalue()}
    )
    assert bench.members(built["layers"][1])["x/in/f"].uid == 7
    assert "y/a.tgz" in bench.names(built["layers"][2])


async def test_heredocs(bench: Bench) -> None:
    built = await bench.build(
        "FROM busybox\nRUN <<EOF\necho one\necho two\nEOF\n"
        "RUN <<S\n#!/bin/sh -e\necho script $0\nS\nCOPY <<f /f\ncontent\nf\nRUN cat /f\n"
    )
    assert "one\ntwo\n" in bench.text
    assert "script /dev/pipes/S" in bench.text
    assert bench.text.count("content\n") >= 1
    assert len(built["layers"]) == 2


async def test_workdir_is_made_once(bench: Bench) -> None:
    built = await bench.build("FROM busybox\nWORKDIR /w\nWORKDIR /w\nWORKDIR /bin\n")
    assert [line.empty_layer for line in built["config"].history] == [False, True, True]
    assert bench.names(built["layers"][1]) == ["w"]


async def test_second_build_comes_from_the_cache(bench: Bench) -> None:
    text = "FROM busybox\nCOPY a /a\nRUN echo 1 > /b\nENV x=y\n"
    first = await bench.build(text, {"a": b"1"}, tags=("t",))
    second = await bench.build(text, {"a": b"1"})
    assert second["id"] == first["id"]
    assert bench.text.count("Using cache") == 3
    await bench.build(text, {"a": b"2"})
    assert bench.text.count("Using cache") == 0
    assert bench.images.names["t:latest"] == first["id"]


async def test_dockerignore(bench: Bench) -> None:
    files = {".dockerignore": b"*.o\nd\n!d/keep\nDockerfile\n", "a.o": b"", "a.c": b"",
             "d/x": b"", "d/keep": b"", "e/y": b"", "e.o": b""}  # fmt: skip
    built = await bench.build("FROM scratch\nCOPY . /x/\n", files)
    names = [name.removeprefix("x/") for name in bench.names(built["layers"][0])]
    assert names == ["x", ".dockerignore", "a.c", "d", "d/keep", "e", "e/y"]


async def test_copy_miss_and_korean_comment(bench: Bench) -> None:
    with pytest.raises(AssertionError):
        await bench.build("FROM busybox   # 한글\nCOPY nofile /x/ # 없음\n")
    assert bench.outputs[-1].error == (
        "COPY failed: file not found in build context or excluded by .dockerignore: "
        "stat nofile: file does not exist"
    )
    warnings = [output.warning for output in bench.outputs if output.warning]
    assert [warning[:7] for warning in warnings] == ["line 1:", "line 2:"]


@pytest.mark.parametrize(
    ("files", "options", "error", "message"),
    [
        ({"Dockerfile": b"FROM a\nBOGUS\n"}, {}, DockerfileError, "unknown instruction: BOGUS"),
        ({"x": b""}, {}, KetchError, "Cannot locate specified Dockerfile: Dockerfile"),
        ({"x": b""}, {"dockerfile": "M"}, KetchError, "Cannot locate specified Dockerfile: M"),
        ({"Dockerfile": b""}, {}, DockerfileError, "the Dockerfile (Dockerfile) cannot be empty"),
        ({"Dockerfile": b"FROM a\n", ".dockerignore": b"[a"}, {}, InvalidParameter, "line 1"),
        ({"Dockerfile": b"FROM a\n"}, {"tags": ("A:b",)}, InvalidParameter, "must be lowercase"),
        ({"Dockerfile": b"FROM a\n"}, {"network_mode": "container:x"}, KetchError, "networkmode"),
    ],
)
async def test_what_is_wrong_before_the_first_step(
    bench: Bench,
    files: dict[str, bytes],
    options: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error) as caught:
        async for _ in bench.builder.build(TarSource(context(files)), BuildOptions(**options)):  # type: ignore[arg-type]
            pass
    assert message in str(caught.value)


async def test_broken_context(bench: Bench) -> None:
    async def garbage() -> AsyncIterator[bytes]:
        yield b"this is no archive" * 100

    with pytest.raises(KetchError):
        await anext(bench.builder.build(TarSource(garbage()), BuildOptions()))


async def test_hostile_context_stays_inside(bench: Bench, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        link = tarfile.TarInfo("l")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        for name in ("l/out", "Dockerfile"):
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"evil"))

    async def stream() -> AsyncIterator[bytes]:
        yield out.getvalue()

    with pytest.raises(KetchError):
        await anext(bench.builder.build(TarSource(stream()), BuildOptions()))
    assert not (tmp_path / "out").exists()


async def test_closing_kills_the_step(bench: Bench) -> None:
    text = b"FROM busybox\nRUN echo begin && sleep 1000\n"
    outputs = bench.builder.build(TarSource(context({"Dockerfile": text})), BuildOptions())
    async for output in outputs:
        if output.stream == "begin\n":
            break
    await asyncio.wait_for(outputs.aclose(), 60)  # type: ignore[attr-defined]


async def test_much_output_is_bounded_and_whole(bench: Bench) -> None:
    outputs: list[BuildOutput] = []
    text = b"FROM busybox\nRUN seq 1 200000\n"
    async for output in bench.builder.build(
        TarSource(context({"Dockerfile": text})), BuildOptions()
    ):
        outputs.append(output)
    written = "".join(output.stream for output in outputs)
    assert "\n".join(str(n) for n in range(199_000, 200_001)) in written


async def test_limits_reach_the_step(bench: Bench) -> None:
    await bench.build(
        "FROM busybox\nRUN ulimit -n\n", limits=BuildLimits(ulimits=(("nofile", 77, 77),))
    )
    assert "\n77\n" in bench.text


async def test_a_step_that_ran_out_of_memory_says_so(bench: Bench) -> None:
    """In BuildKit's words too, which people look for."""
    options = BuildOptions(limits=BuildLimits(memory=16 << 20, memory_swap=16 << 20))
    text = "FROM busybox\nRUN head -c 99000000 /dev/zero | tr '\\0' a | sort\n"
    await bench.build(text, options=options, fails=True)
    last = bench.outputs[-1]
    assert last.error.endswith("code: 137: it ran out of memory (--memory is 16777216 bytes)")
    assert last.code == 137


async def test_what_nobody_foresaw_is_told_as_well(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer has begun: an exception would only end it, and the client not know why."""

    async def run(*_: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr("ketch.engine.builder.steps.run.StepRunner.run", run)
    await bench.build("FROM busybox\nRUN true\n", fails=True)
    assert bench.outputs[-1].error == "the engine failed unexpectedly: RecursionError: too deep"


async def test_a_warm_sandbox_whose_step_cannot_start_is_dropped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would stay parked for ever, on an address that is given to somebody else."""
    dropped: list[str] = []

    async def drop(ids: list[str]) -> None:
        dropped.extend(ids)

    def broken(spec: object) -> str:
        raise InvalidParameter("no filter for this one")

    member = Member("warm-1", None)  # type: ignore[arg-type]
    monkeypatch.setattr(bench.parts.pool, "take", lambda spec: member)
    monkeypatch.setattr(bench.launcher, "drop_warm", drop)
    monkeypatch.setattr(bench.parts.filters, "of", broken)
    await bench.build("FROM busybox\nRUN true\n", fails=True)
    assert dropped == ["warm-1"]
    assert bench.leftovers() == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ADD http://[::1/x /", "invalid URL"),
        ("ADD http://a..b/x /", "failed to GET http://a..b/x"),
        (f"COPY <<{'x' * 300} /\nx\n{'x' * 300}\n", "can't be the name of an inline file"),
        ('RUN ["echo", "\\ud800", "--", "\\udfff"]\nRUN false', "returned a non-zero code"),
    ],
)
async def test_odd_words_are_told_and_do_not_break_the_answer(
    bench: Bench, text: str, words: str
) -> None:
    await bench.build(f"FROM busybox\n{text}\n", fails=True)
    assert words in bench.outputs[-1].error


async def test_of_inline_files_with_one_name_the_last_counts(bench: Bench) -> None:
    built = await bench.build("FROM busybox\nCOPY <<a <<a /d/\n1\na\n2\na\n")
    assert bench.read(built["layers"][-1], "d/a") == b"2\n"


async def test_a_question_about_several_platforms_is_about_the_first(bench: Bench) -> None:
    text = "ARG TARGETARCH\nFROM busybox-$TARGETARCH AS base\n"
    options = BuildOptions(platform="linux/arm64,linux/amd64")
    source = TarSource(context({"Dockerfile": text.encode()}))
    answer = await bench.builder.ask("frontend.outline", source, options)
    assert [(arg["name"], arg["value"]) for arg in answer.document["args"]] == [
        ("TARGETARCH", "arm64")
    ]
