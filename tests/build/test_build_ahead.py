"""What a build wants from elsewhere begins before its steps come to it, and fails at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from build.fakes import FakeExecutor, build
from ketch.build.executor import BaseImage, CopyPart, RunOutcome, RunStep, Tree
from ketch.build.failures import StepFailed
from ketch.build.progress.events import Began, Ended, Report
from ketch.build.request.options import BuildOptions
from ketch.errors import NotFound

PATIENCE = 30


class Waiting(FakeExecutor):
    """RUN ends only when something else was asked for: ``things`` of them."""

    def __init__(self, things: int = 1) -> None:
        super().__init__()
        self.add_image("base")
        self.things = things
        self.asked: list[str] = []
        self.there = asyncio.Event()

    def _asked(self, what: str) -> None:
        self.asked.append(what)
        if len(self.asked) == self.things:
            self.there.set()

    async def base(self, reference: str, platform: str, *, pull: bool, report: Report) -> BaseImage:
        if reference != "base":
            self._asked(reference)
        return await super().base(reference, platform, pull=pull, report=report)

    async def fetch(self, url: str, name: str, checksum: str) -> Tree:
        self._asked(url)
        if "missing" in url:
            raise NotFound(f"{url} answers 404")
        return await super().fetch(url, name, checksum)

    async def clone(self, url: str, checksum: str, *, keep_git_dir: bool, report: Report) -> Tree:
        self._asked(url)
        report.note(f"{url} is at 1234\n")
        return await super().clone(url, checksum, keep_git_dir=keep_git_dir, report=report)

    async def unpacked(self, url: str, report: Report) -> Tree:
        self._asked(url)
        return await super().unpacked(url, report)

    async def run(
        self, step: RunStep, started: Callable[[str], None], report: Report
    ) -> RunOutcome:
        await self.there.wait()
        return await super().run(step, started, report)


FETCHES = """\
FROM base
ARG HOST=first.example
ENV NAME=$HOST
RUN long
ADD https://${NAME}/a http://second.example/b /d/
ADD https://third.example/r.git#main /r
ADD https://${NAME}/a /again
"""


async def test_what_add_fetches_is_under_way_while_a_run_lasts() -> None:
    executor = Waiting(3)
    result = await asyncio.wait_for(build(executor, FETCHES), PATIENCE)
    assert sorted(executor.asked) == [  # each once
        "http://second.example/b", "https://first.example/a", "https://third.example/r.git#main",
    ]  # fmt: skip
    assert len(result.layers) == 5
    lines = result.text.splitlines()
    place = lines.index("https://third.example/r.git#main is at 1234")
    assert lines[place - 1].startswith("Step 6/7")
    names = [event.vertex.name for event in result.events if isinstance(event, Began)]
    assert names.count("[4/5] ADD https://third.example/r.git#main /r") == 2  # fetched and added
    began = {event.vertex.digest for event in result.events if isinstance(event, Began)}
    ended = [event.digest for event in result.events if isinstance(event, Ended)]
    assert sorted(ended) == sorted(began)


async def test_images_and_named_contexts_of_later_steps_are_brought_meanwhile() -> None:
    executor = Waiting(3)
    executor.add_image("tools")
    executor.add_image("more")
    text = (
        "FROM base\nRUN long\nCOPY --from=tools /x /x\nCOPY --from=tools /y /y\n"
        "COPY --from=far . /far\nRUN --mount=from=more,target=/m also\n"
    )
    options = BuildOptions(contexts={"far": "https://far.example/a.tar.gz"})
    await asyncio.wait_for(build(executor, text, options), PATIENCE)
    assert sorted(executor.asked) == ["https://far.example/a.tar.gz", "more", "tools"]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("COPY --from=nosuch /x /", "pull access denied for nosuch"),
        ("ADD https://a.example/missing /", "ADD failed: https://a.example/missing answers 404"),
        ("ENV F=typo.txt\nCOPY $F /", "file not found in build context.*: stat typo.txt"),
    ],
)
async def test_what_cannot_be_had_fails_the_build_at_once(step: str, told: str) -> None:
    executor = Waiting(9)  # its RUN never ends
    with pytest.raises((StepFailed, NotFound), match=told):
        await asyncio.wait_for(build(executor, f"FROM base\nRUN long\n{step}\n"), PATIENCE)
    assert executor.ran == []


async def test_who_wants_to_stand_before_a_step_is_not_sent_away_earlier() -> None:
    executor = FakeExecutor()
    executor.add_image("base")
    with pytest.raises(StepFailed, match="typo") as failed:
        await build(executor, "FROM base\nRUN long\nCOPY typo /\n", BuildOptions(stepwise=True))
    assert len(executor.ran) == 1
    assert failed.value.run is not None
    assert len(failed.value.run.step.layers) == 2
    assert failed.value.image in executor.stored


async def test_checksums_are_computed_once_and_a_file_named_like_a_comment_is_one() -> None:
    executor = FakeExecutor()
    executor.add_image("base")
    executor.context["#"] = b"#"
    text = "FROM base\nRUN x\nCOPY a.txt # b.txt /d/\nCOPY a.txt /again\nCOPY a.txt /more\n"
    summed = []
    whole = executor.checksum

    async def counting(part: CopyPart) -> str:
        summed.append(part.sources)
        return await whole(part)

    executor.checksum = counting  # type: ignore[method-assign]
    executor.copied.clear()
    result = await build(executor, text)
    assert len(result.layers) == 5
    copying = len(executor.copied)  # where the fake computes them again
    assert len(summed) == 2 + copying


async def test_an_error_of_the_words_comes_when_its_step_does() -> None:
    """Nothing that only looks ahead may fail a build for it."""
    executor = Waiting()
    text = "FROM base\nADD http://a.example/a /\nRUN long\nRUN --mount=type=secret,id=s,required\n"
    with pytest.raises(StepFailed, match="secret"):
        await asyncio.wait_for(build(executor, text), PATIENCE)
    assert [step.argv[-1] for step in executor.ran] == ["long"]
