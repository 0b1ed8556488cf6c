"""When a step is taken from the cache, and when it must not be."""

from __future__ import annotations

import pytest

from build.fakes import FakeExecutor, build
from ketch.build.failures import StepFailed
from ketch.build.request.options import BuildLimits, BuildOptions
from ketch.oci.image import ImageConfig, RunConfig, encode

TEXT = "FROM base\nENV a=1\nCOPY a.txt /a\nRUN make\nCMD x\n"


async def test_labels_of_the_base_do_not_matter_to_a_run(executor: FakeExecutor) -> None:
    labelled = ImageConfig(os="linux", architecture="amd64", config=RunConfig(labels={"a": "b"}))
    executor.add_image("one", layer="same")
    executor.add_image("two", labelled, "same")
    await build(executor, "FROM one\nRUN x\n")
    second = await build(executor, "FROM two\nRUN x\n")
    assert (second.hits, second.config.run.labels) == (1, {"a": "b"})


async def test_the_second_build_is_the_same_image(executor: FakeExecutor) -> None:
    first = await build(executor, TEXT)
    second = await build(executor, TEXT)
    assert first.hits == 0
    assert second.hits == 4
    assert second.built == first.built
    assert len(executor.ran) == 1


async def test_no_cache(executor: FakeExecutor) -> None:
    await build(executor, TEXT)
    assert (await build(executor, TEXT, BuildOptions(no_cache=True))).hits == 0
    assert len(executor.ran) == 2


EDITS = [
    ("ENV a=1\nRUN x", "ENV a=2\nRUN x", 0),
    ("RUN x\nRUN y", "RUN x\nRUN z", 1),
    ("RUN x\nRUN y", "RUN  z\nRUN y", 0),
    ("USER a\nRUN x", "USER b\nRUN x", 0),
    ("WORKDIR /a\nRUN x", "WORKDIR /b\nRUN x", 0),
    ("LABEL a=1\nRUN x", "LABEL a=2\nRUN x", 1),
    ("CMD a\nRUN x", "CMD b\nRUN x", 1),
    ("EXPOSE 80\nCOPY a.txt /a", "EXPOSE 81\nCOPY a.txt /a", 1),
    ('SHELL ["a"]\nRUN x', 'SHELL ["b"]\nRUN x', 0),
    ("HEALTHCHECK CMD a\nRUN x", "HEALTHCHECK CMD b\nRUN x", 0),
    ("HEALTHCHECK CMD a\nCOPY a.txt /", "HEALTHCHECK CMD b\nCOPY a.txt /", 0),
    ("HEALTHCHECK --interval=1s CMD a", "HEALTHCHECK --interval=2s CMD a", 0),
    ("HEALTHCHECK --retries=1 CMD a", "HEALTHCHECK --retries=257 CMD a", 0),
    ("HEALTHCHECK --start-interval=1s CMD a", "HEALTHCHECK CMD a", 0),
    ("ONBUILD RUN a\nRUN x", "ONBUILD RUN b\nRUN x", 0),
    ("COPY a.txt /a", "COPY a.txt /b", 0),
    ("COPY a.txt /a", "COPY --chown=1 a.txt /a", 0),
    ("COPY a.txt /a", "COPY --chmod=600 a.txt /a", 0),
    ("COPY a.txt /a", "ADD a.txt /a", 0),
    ("COPY a.txt b.txt /a/", "COPY b.txt a.txt /a/", 0),
    ("RUN x", 'RUN ["/bin/sh", "-c", "x"]', 1),
    ("RUN x", "RUN --network=none x", 0),
    ('RUN ["a b"]', 'RUN ["a", "b"]', 0),
    ("CMD a b", 'CMD ["/bin/sh", "-c", "a b"]', 1),
    ("EXPOSE 80\nEXPOSE 81", "EXPOSE 80\nEXPOSE 82", 1),
    ("VOLUME /a\nRUN x", "VOLUME /b\nRUN x", 1),
    ("STOPSIGNAL 9\nRUN x", "STOPSIGNAL 15\nRUN x", 1),
    ("RUN <<E\na\nE", "RUN <<E\nb\nE", 0),
    ("COPY <<f /x\n1\nf", "COPY <<f /x\n2\nf", 0),
    ("ENV a=1\nCOPY a.txt /a", "ENV a=2\nCOPY a.txt /a", 1),
    ("USER a\nCOPY a.txt /a", "USER b\nCOPY a.txt /a", 1),
    ("ENV a=1\nWORKDIR /a", "ENV a=2\nWORKDIR /a", 1),
    ("USER a\nWORKDIR /a", "USER b\nWORKDIR /a", 0),
    ("WORKDIR /a\nCOPY a.txt b", "WORKDIR /b\nCOPY a.txt b", 0),
    ("RUN x", 'CMD ["a"]\nRUN x', 1),
    ("RUN x", 'SHELL ["/bin/sh", "-c"]\nRUN x', 1),
]


@pytest.mark.parametrize(("before", "after", "hits"), EDITS)
async def test_edits(executor: FakeExecutor, before: str, after: str, hits: int) -> None:
    await build(executor, f"FROM base\n{before}\n")
    assert (await build(executor, f"FROM base\n{after}\n")).hits == hits


def limited(*ulimits: tuple[str, int, int], size: int = 0) -> BuildOptions:
    return BuildOptions(limits=BuildLimits(ulimits=ulimits, shm_size=size))


def proxied(value: str) -> BuildOptions:
    return BuildOptions(build_args={"http_proxy": value})


OPTIONS = [
    ("RUN x", BuildOptions(extra_hosts=("a:1.2.3.4",)), BuildOptions(), 0),
    ("RUN x", BuildOptions(extra_hosts=("a:1.2.3.4",)), BuildOptions(extra_hosts=("b:::1",)), 0),
    ("RUN x", BuildOptions(extra_hosts=("a:1.2.3.4",)), BuildOptions(extra_hosts=("a:::1",)), 1),
    ("RUN x", limited(("nofile", 1, 2)), limited(("nofile", 1, 3)), 0),
    ("RUN x", limited(size=1), limited(size=2), 0),
    ("RUN x", BuildOptions(limits=BuildLimits(memory=1 << 30)), BuildOptions(), 1),
    ("RUN x", proxied("http://a"), proxied("http://b"), 1),
    ("ARG http_proxy\nRUN x", proxied("http://a"), proxied("http://b"), 1),
    ("COPY a.txt /a", limited(size=1), limited(size=2), 1),
]


@pytest.mark.parametrize(("text", "before", "after", "hits"), OPTIONS)
async def test_what_a_step_sees_of_the_options_counts(
    executor: FakeExecutor, text: str, before: BuildOptions, after: BuildOptions, hits: int
) -> None:
    """The declared proxy: the ARG is a hit, the RUN that may write it down is none."""
    await build(executor, f"FROM base\n{text}\n", before)
    assert (await build(executor, f"FROM base\n{text}\n", after)).hits == hits


async def test_a_secret_is_asked_for_when_a_step_runs(executor: FakeExecutor) -> None:
    """From the cache it comes without; but nothing made without it is taken for what has it."""
    text = "FROM base\nRUN --mount=type=secret,id=s{} x\n"
    optional, required = text.format(""), text.format(",required")
    with pytest.raises(StepFailed, match="secret s: not found"):
        await build(executor, required)
    assert [(await build(executor, optional)).hits for _ in range(2)] == [0, 1]
    executor.secrets["s"] = b"value"
    assert [(await build(executor, optional)).hits for _ in range(2)] == [0, 1]
    executor.secrets.clear()
    assert (await build(executor, optional)).hits == 1
    assert (await build(executor, required)).hits == 1
    assert [len(step.mounts) for step in executor.ran] == [0, 1]


async def test_content_of_files_counts(executor: FakeExecutor) -> None:
    await build(executor, TEXT)
    executor.context["b.txt"] = b"other"
    assert (await build(executor, TEXT)).hits == 4
    executor.context["a.txt"] = b"other"
    assert (await build(executor, TEXT)).hits == 1


async def test_arguments_count_where_they_are_seen(executor: FakeExecutor) -> None:
    text = "FROM base\nRUN before\nARG a\nRUN after\n"
    await build(executor, text, BuildOptions(build_args={"a": "1"}))
    assert (await build(executor, text, BuildOptions(build_args={"a": "2"}))).hits == 2
    assert (await build(executor, text, BuildOptions(build_args={"a": "1"}))).hits == 3


async def test_proxies_do_not_count(executor: FakeExecutor) -> None:
    await build(executor, TEXT, BuildOptions(build_args={"HTTP_PROXY": "1"}))
    assert (await build(executor, TEXT, BuildOptions(build_args={"HTTP_PROXY": "2"}))).hits == 4


async def test_a_pulled_look_alike_is_a_miss(executor: FakeExecutor) -> None:
    """The same name, configuration and history, but another filesystem below."""
    await build(executor, TEXT)
    executor.add_image("base", layer="something else")
    assert (await build(executor, TEXT)).hits == 0


async def test_an_image_with_the_history_of_a_step_is_no_cache(executor: FakeExecutor) -> None:
    """Only what this builder did itself is remembered; images are never searched."""
    first = await build(executor, "FROM base\nRUN make\n")
    executor.cache.clear()
    await executor.commit(encode(first.config), first.layers, executor.images["base"].id)
    assert (await build(executor, "FROM base\nRUN make\n")).hits == 0


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(env=["LD_PRELOAD=/x"]),
        RunConfig(user="7"),
        RunConfig(shell=["/evil"]),
        RunConfig(working_dir="/w"),
    ],
)
async def test_another_configuration_is_a_miss(executor: FakeExecutor, config: RunConfig) -> None:
    executor.add_image("one", layer="same")
    executor.add_image("two", ImageConfig(os="linux", architecture="amd64", config=config), "same")
    await build(executor, "FROM one\nRUN x\n")
    assert (await build(executor, "FROM two\nRUN x\n")).hits == 0


async def test_a_lost_layer_is_a_miss(executor: FakeExecutor) -> None:
    first = await build(executor, TEXT)
    executor.lost = {first.layers[-1]}
    assert (await build(executor, TEXT)).hits == 2


async def test_a_new_outcome_is_a_new_state(executor: FakeExecutor) -> None:
    """A step done again with another outcome does not let what stood on the old one match."""
    text = "FROM base\nRUN date\nRUN use\n"
    executor.exit_codes = {}
    await build(executor, text)
    executor.exit_codes = {"use": 1}
    with pytest.raises(StepFailed):
        await build(executor, text, BuildOptions(no_cache=True))
    executor.exit_codes = {}
    third = await build(executor, text)
    assert third.hits == 1
    assert executor.ran[-1].layers[-1] != executor.ran[1].layers[-1]


async def test_a_failed_step_is_not_remembered(executor: FakeExecutor) -> None:
    executor.exit_codes["x"] = 1
    for _ in range(2):
        with pytest.raises(StepFailed):
            await build(executor, "FROM base\nRUN x\n")
    assert len(executor.ran) == 2
