"""Stages side by side: what runs at once, what waits, what clients see of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from build.fakes import FakeExecutor, build
from ketch.build.executor import CacheEntry, RunOutcome, RunStep, StepMount, Tree
from ketch.build.failures import FailedRun, StepFailed
from ketch.build.progress.events import Began, Ended, Event, Log, Report, Vertex
from ketch.build.request.options import BuildLimits, BuildOptions, BuildOutput
from ketch.engine.builder.cache.records import BuildCache
from ketch.state.database import Database

FOUR = (
    "FROM base AS a\nRUN a\nFROM base AS b\nRUN b\nFROM base AS c\nRUN c\n"
    "FROM scratch\nCOPY --from=a /x /a\nCOPY --from=b /x /b\nCOPY --from=c /x /c\n"
)


class Meeting(FakeExecutor):
    """RUN steps wait for each other: they end only if all of them are under way at once."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self.barrier = asyncio.Barrier(parties)
        self.killed: list[str] = []

    async def run(
        self, step: RunStep, started: Callable[[str], None], report: Report
    ) -> RunOutcome:
        try:
            if step.argv[-1] != "fails":
                await self.barrier.wait()
        except asyncio.CancelledError:
            self.killed.append(step.argv[-1])
            raise
        report.output(1, f"{step.argv[-1]} speaks\n")
        return await super().run(step, started, report)


async def test_independent_stages_run_at_once() -> None:
    executor = Meeting(3)
    executor.add_image("base")
    result = await asyncio.wait_for(build(executor, FOUR), 60)
    assert len(result.layers) == 3


async def test_the_classic_text_is_in_order_all_the_same() -> None:
    executor = Meeting(3)
    executor.add_image("base")
    lines = (await build(executor, FOUR)).text.splitlines()
    steps = [line for line in lines if line.startswith("Step ")]
    assert [line.split()[1] for line in steps] == [f"{n}/10" for n in range(1, 11)]
    for name in "abc":
        place = lines.index(f"{name} speaks")
        assert f"RUN {name}" in next(x for x in reversed(lines[:place]) if x.startswith("Step"))


async def test_a_failure_ends_the_other_stages() -> None:
    executor = Meeting(3)
    executor.add_image("base")
    executor.exit_codes["fails"] = 2
    outputs: list[BuildOutput] = []
    with pytest.raises(StepFailed) as caught:
        await asyncio.wait_for(
            build(executor, FOUR.replace("RUN c", "RUN fails"), outputs=outputs), 10
        )
    assert caught.value.code == 2
    assert sorted(executor.killed) == ["a", "b"]
    assert "RUN fails" in "".join(output.stream for output in outputs)


async def test_every_vertex_begins_and_ends_once_after_its_inputs(executor: FakeExecutor) -> None:
    events: list[Event] = (await build(executor, FOUR)).events
    begun: dict[str, Vertex] = {}
    ended: set[str] = set()
    for event in events:
        if isinstance(event, Began):
            assert event.vertex.digest not in begun
            assert set(event.vertex.inputs) <= ended
            begun[event.vertex.digest] = event.vertex
        elif isinstance(event, Ended):
            assert event.digest not in ended
            ended.add(event.digest)
    assert set(begun) == ended
    names = [vertex.name for vertex in begun.values()]
    assert "[a 2/2] RUN a" in names
    assert "[stage-3 1/3] COPY --from=a /x /a" in names


def silent() -> Report:
    return Report(lambda event: None, Vertex(digest="sha256:1", name="x"))


async def test_who_waits_for_a_step_hears_what_it_writes(tmp_path: object) -> None:
    """From its beginning; a client that is behind is told nothing for the time being."""
    cache = BuildCache(Database(f"{tmp_path}/db"))
    told: dict[str, list[str]] = {"first": [], "second": []}
    crowded = False
    go = asyncio.Event()

    def build(name: str) -> asyncio.Task[tuple[CacheEntry, bool]]:
        def sink(event: Event) -> None:
            if isinstance(event, Log):
                told[name].append(event.text)

        report = Report(sink, Vertex(digest=f"sha256:{name}", name=name))

        async def make() -> CacheEntry:
            nonlocal crowded
            report.output(1, "early" * 20_000)
            report.output(1, "late")
            await go.wait()
            report.output(1, "then")
            crowded = True
            report.output(1, "too much")
            return CacheEntry("layer", "now")

        outcome = cache.outcome(
            "key", make, lambda entry: True, reuse=True, report=report, is_crowded=lambda: crowded
        )
        return asyncio.create_task(outcome)

    builds = [build("first")]
    for _ in range(3):
        await asyncio.sleep(0)
    builds.append(build("second"))
    await asyncio.sleep(0)
    go.set()
    assert [hit for _, hit in await asyncio.gather(*builds)] == [False, True]
    assert told == {
        "first": ["early" * 20_000, "late", "then", "too much"],
        "second": ["late", "then"],
    }


async def test_a_step_wanted_twice_is_made_once(tmp_path: object) -> None:
    cache = BuildCache(Database(f"{tmp_path}/db"))
    made = 0
    go = asyncio.Event()

    async def make() -> CacheEntry:
        nonlocal made
        made += 1
        await go.wait()
        return CacheEntry("layer", "now")

    tasks = [
        asyncio.create_task(
            cache.outcome("key", make, lambda entry: True, reuse=True, report=silent())
        )
        for _ in range(3)
    ]
    await asyncio.sleep(0)
    go.set()
    assert sorted(hit for _, hit in await asyncio.gather(*tasks)) == [False, True, True]
    assert made == 1


SECRET = StepMount(type="secret", target="/s", id="s")


@pytest.mark.parametrize(
    ("code", "mounts", "times"),
    [(1, (), 1), (137, (), 3), (1, (SECRET,), 3)],
    ids=["said no", "killed", "had a secret"],
)
async def test_a_failure_is_that_of_all_who_wait_for_it(
    tmp_path: object, code: int, mounts: tuple[StepMount, ...], times: int
) -> None:
    """As in BuildKit; but what was killed may go well the next time, and a secret is its own."""
    cache = BuildCache(Database(f"{tmp_path}/db"))
    made = 0
    go = asyncio.Event()
    step = RunStep(
        layers=(),
        argv=("x",),
        env=(),
        user="",
        working_dir="/",
        network="",
        limits=BuildLimits(),
        extra_hosts=(),
        mounts=mounts,
    )

    async def make() -> CacheEntry:
        nonlocal made
        made += 1
        await go.wait()
        failed = StepFailed("no", code, "told")
        failed.run = FailedRun(step, "kept")
        raise failed

    tasks = [
        asyncio.create_task(
            cache.outcome("key", make, lambda entry: True, reuse=True, report=silent())
        )
        for _ in range(3)
    ]
    await asyncio.sleep(0)
    go.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [(str(e), e.code, e.told) for e in errors if isinstance(e, StepFailed)] == [
        ("no", code, "told")
    ] * 3
    assert made == times
    with pytest.raises(StepFailed):  # who comes later tries it again
        await cache.outcome("key", make, lambda entry: True, reuse=True, report=silent())
    assert made == times + 1


async def test_who_waits_for_a_step_makes_it_when_the_other_gives_up(tmp_path: object) -> None:
    cache = BuildCache(Database(f"{tmp_path}/db"))
    never = asyncio.Event()

    async def stuck() -> CacheEntry:
        await never.wait()
        raise AssertionError

    async def make() -> CacheEntry:
        return CacheEntry("layer", "now")

    first = asyncio.create_task(
        cache.outcome("key", stuck, lambda entry: True, reuse=True, report=silent())
    )
    await asyncio.sleep(0)
    second = asyncio.create_task(
        cache.outcome("key", make, lambda entry: True, reuse=True, report=silent())
    )
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.wait_for(second, 60) == (CacheEntry("layer", "now"), False)


@pytest.mark.parametrize("wanted", [True, False], ids=["to its end", "until nobody wants it"])
async def test_a_step_whose_client_leaves_is_made_for_the_others(
    tmp_path: object, wanted: bool
) -> None:
    """It was killed, and those who waited began it anew: an hour's compilation could be lost."""
    cache = BuildCache(Database(f"{tmp_path}/db"))
    go, begun, ended = asyncio.Event(), 0, 0

    async def make() -> CacheEntry:
        nonlocal begun, ended
        begun += 1
        try:
            await go.wait()
        finally:
            ended += 1
        return CacheEntry("layer", "now")

    def build() -> asyncio.Task[tuple[CacheEntry, bool]]:
        made = cache.outcome(
            "key", make, lambda entry: True, reuse=True, report=silent(), is_left=lambda: True
        )
        return asyncio.create_task(made)

    first, second, third = build(), build(), build()
    await asyncio.sleep(0)
    for _ in range(3):
        first.cancel()
        third.cancel()
        await asyncio.sleep(0)
    assert (begun, ended, first.done()) == (1, 0, False)
    go.set() if wanted else second.cancel()
    done = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 60)
    assert isinstance(done[0], asyncio.CancelledError)
    assert (begun, ended) == (1, 1)
    if wanted:
        assert done[1] == (CacheEntry("layer", "now"), True)
    else:
        assert cache.get("key") is None


CONTEXTS = [
    ("FROM base\n", {"base": "docker-image://other:1"}, "other:1"),
    ("FROM docker.io/library/base:latest\n", {"base": "docker-image://other:1"}, "other:1"),
    ("FROM base\n", {"docker.io/library/base:latest": "docker-image://other:1"}, "other:1"),
    ("FROM base AS made\nRUN x\nFROM made\n", {"made": "docker-image://other:1"}, "other:1"),
]


@pytest.mark.parametrize(("text", "contexts", "expected"), CONTEXTS)
async def test_named_contexts_stand_for_images_and_stages(
    executor: FakeExecutor, text: str, contexts: dict[str, str], expected: str
) -> None:
    image = executor.add_image(expected)
    result = await build(executor, text, BuildOptions(contexts=contexts))
    assert result.built.image == image.id
    assert executor.ran == []


async def test_files_of_named_contexts(executor: FakeExecutor) -> None:
    text = "FROM base\nCOPY --from=docs a.txt /y\nRUN --mount=from=docs,source=a.txt,target=/d z\n"
    await build(executor, text, BuildOptions(contexts={"docs": "local:docs"}))
    assert executor.copied[0].parts[0].tree == Tree("context", name="docs")
    assert executor.ran[0].mounts[0].tree == Tree("context", name="docs")


async def test_a_named_directory_as_base(executor: FakeExecutor) -> None:
    result = await build(
        executor, "FROM root\nENV a=b\n", BuildOptions(contexts={"root": "local:r"})
    )
    assert executor.copied[0].parts[0].tree == Tree("context", name="r")
    assert len(result.layers) == 1
    assert result.config.rootfs.diff_ids == list(result.layers)
