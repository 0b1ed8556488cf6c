"""What a build does and says, with a fake executor."""

from __future__ import annotations

from typing import cast

import pytest

from build.fakes import FakeExecutor, build
from ketch.build.dockerfile.source import DockerfileError
from ketch.build.failures import StepFailed
from ketch.build.request.options import BuildOptions, BuildOutput
from ketch.build.steps.image_config import PATH, with_path
from ketch.errors import InvalidParameter, NotFound, Unsupported
from ketch.oci.image import ImageConfig, RunConfig, encode

KOREAN = (
    "FROM ubuntu:22.04     # 베이스 이미지 지정\n"
    "COPY . /app           # 파일 복사\n"
    "RUN make /app         # 빌드 명령 실행\n"
    'CMD ["/app/server"]   # 컨테이너 시작 시 실행할 명령\n'
)


async def test_korean_dockerfile_builds(executor: FakeExecutor) -> None:
    executor.add_image("ubuntu:22.04")
    result = await build(executor, KOREAN, BuildOptions(tags=("app",)))
    assert executor.copied[0].destination == "/app"
    assert executor.copied[0].parts[0].sources == (".",)
    assert executor.ran[0].argv == ("/bin/sh", "-c", "make /app         # 빌드 명령 실행")
    assert result.config.run.cmd == ["/app/server"]
    assert [w.split(":")[0] for w in result.warnings] == ["line 1", "line 2", "line 4"]
    assert executor.tags == {"app:latest": result.built.image}


async def test_a_source_called_hash_is_a_source(executor: FakeExecutor) -> None:
    executor.context["#"] = b"hash"
    result = await build(executor, "FROM base\nCOPY a.txt b.txt # /x/\n")
    assert executor.copied[0].parts[0].sources == ("a.txt", "b.txt", "#")
    assert result.warnings == []


async def test_output_is_the_classic_builders(executor: FakeExecutor) -> None:
    executor.output["echo hi"] = "hi\n"
    result = await build(
        executor, "FROM base\nENV a=b\nRUN echo hi\n", BuildOptions(tags=("x", "y:1"))
    )
    lines = result.text.splitlines()
    base = executor.images["base"].id[7:19]
    assert lines[:5] == [
        "Step 1/3 : FROM base",
        f" ---> {base}",
        "Step 2/3 : ENV a=b",
        lines[3],
        "Step 3/3 : RUN echo hi",
    ]
    assert lines[5].startswith(" ---> Running in ")
    assert lines[6] == "hi"
    assert lines[7] == lines[5].replace("Running in", "Removed intermediate container")
    assert lines[8] == f" ---> {result.built.image[7:19]}"
    assert lines[9:] == [
        f"Successfully built {result.built.image[7:19]}",
        "Successfully tagged x:latest",
        "Successfully tagged y:1",
    ]
    assert [output.aux for output in result.outputs if output.aux] == [result.built.image]


async def test_quiet_says_only_the_id(executor: FakeExecutor) -> None:
    outputs: list[BuildOutput] = []
    result = await build(executor, "FROM base\nRUN x\n", BuildOptions(quiet=True), outputs)
    assert outputs == [BuildOutput(stream=f"{result.built.image}\n")]


async def test_failing_run(executor: FakeExecutor) -> None:
    executor.exit_codes["exit 3"] = 3
    outputs: list[BuildOutput] = []
    with pytest.raises(StepFailed) as caught:
        await build(executor, "FROM base\nRUN ok\nRUN exit 3\n", outputs=outputs)
    assert str(caught.value) == "The command '/bin/sh -c exit 3' returned a non-zero code: 3"
    assert caught.value.code == 3
    text = "".join(output.stream for output in outputs)
    assert text.count("Removed intermediate container") == 1
    kept = next(iter(executor.stored))
    assert f" ---> {kept[7:19]}\n" in text


async def test_copy_miss(executor: FakeExecutor) -> None:
    with pytest.raises(StepFailed) as caught:
        await build(executor, "FROM base\nCOPY nofile /x\n")
    assert str(caught.value) == (
        "COPY failed: file not found in build context or excluded by .dockerignore: "
        "stat nofile: file does not exist"
    )


async def test_a_context_is_its_own_parent(executor: FakeExecutor) -> None:
    """As in BuildKit: nothing outside can be named."""
    await build(executor, "FROM base\nCOPY ../a.txt a/../../b.txt /y/\n")
    assert executor.copied[-1].parts[0].sources == ("a.txt", "b.txt")
    with pytest.raises(StepFailed, match="with --parents a path has no"):
        await build(executor, "FROM base\nCOPY --parents ../a.txt /y/\n")


async def test_a_checksum_is_for_what_is_fetched(executor: FakeExecutor) -> None:
    with pytest.raises(DockerfileError, match="--checksum is for sources by HTTP"):
        await build(executor, f"FROM base\nADD --checksum=sha256:{'0' * 64} a.txt /y\n")


HISTORY = [
    ("RUN a  b", "/bin/sh -c a  b"),
    ('RUN ["a","b c"]', "a b c"),
    ("ENV a=b c='d e'", "/bin/sh -c #(nop)  ENV a=b c=d e"),
    ('CMD ["a","b\\"c"]', '/bin/sh -c #(nop)  CMD ["a" "b\\"c"]'),
    ("CMD a", '/bin/sh -c #(nop)  CMD ["/bin/sh" "-c" "a"]'),
    ("ENTRYPOINT []", "/bin/sh -c #(nop)  ENTRYPOINT []"),
    ("LABEL a=b", "/bin/sh -c #(nop)  LABEL a=b"),
    ("EXPOSE 80 53/udp", "/bin/sh -c #(nop)  EXPOSE 53/udp 80"),
    ("VOLUME /a /b", "/bin/sh -c #(nop)  VOLUME [/a /b]"),
    ("USER x", "/bin/sh -c #(nop)  USER x"),
    ("WORKDIR /x", "/bin/sh -c #(nop) WORKDIR /x"),
    ("STOPSIGNAL SIGINT", "/bin/sh -c #(nop)  STOPSIGNAL SIGINT"),
    ("MAINTAINER me", "/bin/sh -c #(nop)  MAINTAINER me"),
    ("ONBUILD RUN x", "/bin/sh -c #(nop)  ONBUILD RUN x"),
    ('SHELL ["/bin/bash","-c"]', "/bin/bash -c #(nop)  SHELL [/bin/bash -c]"),
    ("ARG a=b", "/bin/sh -c #(nop)  ARG a=b"),
    (
        "HEALTHCHECK NONE",
        '/bin/sh -c #(nop)  HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" \'\\x00\'}',
    ),
]


@pytest.mark.parametrize(("step", "expected"), HISTORY)
async def test_history(executor: FakeExecutor, step: str, expected: str) -> None:
    result = await build(executor, f"FROM base\n{step}\n")
    assert result.created_by() == [expected]


async def test_copy_history_and_empty_layers(executor: FakeExecutor) -> None:
    result = await build(executor, "FROM base\nCOPY a.txt /x\nENV a=b\nRUN true\nWORKDIR /there\n")
    created_by = result.created_by()
    assert created_by[0].startswith("/bin/sh -c #(nop) COPY file:")
    assert created_by[0].endswith(" in /x ")
    assert [line.empty_layer for line in result.config.history or ()] == [False, True, True, True]
    assert len(result.layers) == 2
    assert result.config.rootfs.diff_ids == list(result.layers)


CONFIGS = [
    ("ENV a=1\nENV b=$a a=2", {"Env": ["a=2", "b=1"]}),
    ("ENV a=1 b=$a", {"Env": ["a=1", "b="]}),
    ("ARG x=1\nENV y=${x}2", {"Env": ["y=12"]}),
    ("ENV x=env\nARG x=arg\nENV y=$x", {"Env": ["x=env", "y=arg"]}),
    ("ARG x=arg\nENV x=env\nENV y=$x", {"Env": ["x=env", "y=env"]}),
    ("ARG x=arg\nARG x\nENV y=$x", {"Env": ["y=arg"]}),
    ("ENV k=v\nLABEL l=$k", {"Env": ["k=v"], "Labels": {"l": "v"}}),
    ("WORKDIR /a\nWORKDIR b\nWORKDIR ../c", {"WorkingDir": "/a/c"}),
    (
        "EXPOSE 80-82/UDP 9",
        {"ExposedPorts": {f"{p}/udp": {} for p in (80, 81, 82)} | {"9/tcp": {}}},
    ),
    ("VOLUME /v", {"Volumes": {"/v": {}}}),
    ("USER u:g\nSTOPSIGNAL 9", {"User": "u:g", "StopSignal": "9"}),
    ("CMD a\nENTRYPOINT b", {"Cmd": ["/bin/sh", "-c", "a"], "Entrypoint": ["/bin/sh", "-c", "b"]}),
    ('SHELL ["s"]\nCMD a', {"Shell": ["s"], "Cmd": ["s", "a"]}),
    ("HEALTHCHECK --retries=2 CMD x", {"Healthcheck": {"Test": ["CMD-SHELL", "x"], "Retries": 2}}),
    ("ONBUILD RUN a\nONBUILD CMD b", {"OnBuild": ["RUN a", "CMD b"]}),
]


@pytest.mark.parametrize(("steps", "expected"), CONFIGS)
async def test_config(executor: FakeExecutor, steps: str, expected: dict[str, object]) -> None:
    import msgspec

    result = await build(executor, f"FROM base\n{steps}\n")
    env = [f"PATH={PATH}", *cast(list[str], expected.get("Env", []))]
    assert msgspec.to_builtins(result.config.run) == {**expected, "Env": env}


@pytest.mark.parametrize(
    ("env", "text", "expected"),
    [
        (None, "ENV a=1", [f"PATH={PATH}", "a=1"]),
        (["z=1"], "ENV a=1", ["z=1", f"PATH={PATH}", "a=1"]),
        (None, "ENV PATH=$PATH:/opt", [f"PATH={PATH}:/opt"]),
        (["PATH=/bin"], "ENV a=1", ["PATH=/bin", "a=1"]),
        (None, "FROM base AS two\nFROM two\nENV a=1", [f"PATH={PATH}", "a=1"]),
    ],
)
async def test_there_is_always_a_path(
    executor: FakeExecutor, env: list[str] | None, text: str, expected: list[str]
) -> None:
    """Images of imported archives have none: with ``ENV PATH=$PATH:/opt`` no program was found."""
    executor.add_image("imported", ImageConfig(config=RunConfig(env=env)))
    result = await build(executor, f"FROM imported\n{text}\n")
    assert result.config.run.env == expected
    kept = await build(executor, "FROM imported\n")
    assert kept.built.image == executor.images["imported"].id


def test_a_path_in_the_middle() -> None:
    assert with_path(RunConfig(env=["PATH=", "a=1"])) == ["PATH=", "a=1"]


@pytest.mark.parametrize(
    "step",
    [
        "EXPOSE x",
        "EXPOSE 90-80",
        "EXPOSE 70000",
        "EXPOSE 9/foo",
        "STOPSIGNAL SIGFOO",
        "STOPSIGNAL 99",
        "ENV a=${b",
        "COPY --chmod=rwx a.txt /b",
    ],
)
async def test_values_that_make_no_sense(executor: FakeExecutor, step: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        await build(executor, f"FROM base\n{step}\n")
    assert caught.value.line == 2


async def test_entrypoint_forgets_the_bases_cmd(executor: FakeExecutor) -> None:
    executor.add_image("withcmd", ImageConfig(config=RunConfig(cmd=["x"])))
    assert (await build(executor, "FROM withcmd\nENV a=b\n")).config.run.cmd == ["x"]
    assert (await build(executor, 'FROM withcmd\nENTRYPOINT ["e"]\n')).config.run.cmd is None


async def test_arguments_reach_run(executor: FakeExecutor) -> None:
    args: dict[str, str | None] = {"a": "1", "HTTP_PROXY": "p", "none": None, "zz": "9"}
    result = await build(
        executor, "FROM base\nARG a\nARG b=2\nENV e=3\nRUN x\n", BuildOptions(build_args=args)
    )
    assert executor.ran[0].env[1:] == ("e=3", "a=1", "b=2", "HTTP_PROXY=p", "http_proxy=p")
    assert result.created_by()[-1] == "|2 a=1 b=2 /bin/sh -c x"
    assert result.warnings == ["One or more build-args [zz] were not consumed"]


async def test_a_stage_without_cache_that_does_not_exist(executor: FakeExecutor) -> None:
    text = "FROM base AS One\nRUN x\nFROM one\nRUN y\n"
    options = BuildOptions(no_cache_stages=("one", "stage-1", "two"))
    result = await build(executor, text, options)
    assert result.warnings == ["--no-cache-filter two: there is no stage of that name"]


async def test_global_arguments(executor: FakeExecutor) -> None:
    executor.add_image("img:2")
    await build(
        executor,
        "ARG v=1\nARG w=d\nFROM img:$v\nARG v\nARG w=x\nARG TARGETARCH\nRUN a\n",
        BuildOptions(build_args={"v": "2"}),
    )
    assert executor.ran[0].env[1:] == ("TARGETARCH=amd64", "v=2", "w=x")


async def test_stages(executor: FakeExecutor) -> None:
    text = (
        "FROM base AS one\nRUN 1\nFROM base AS unused\nRUN never\n"
        "FROM one AS two\nRUN 2\nFROM scratch\nCOPY --from=two /x /y\nCOPY --from=0 /x /z\n"
    )
    result = await build(executor, text)
    assert [step.argv[-1] for step in executor.ran] == ["1", "2"]
    assert "Step 1/7 : FROM base AS one" in result.text
    assert executor.copied[0].parts[0].tree.layers == (
        *executor.ran[1].layers,
        *result_layer(executor),
    )
    assert len(result.layers) == 2
    assert sum(1 for output in result.outputs if output.aux) == 3


def result_layer(executor: FakeExecutor) -> tuple[str, ...]:
    """The layer that the second RUN made."""
    return tuple(e.layer for e in executor.cache.values() if e.layer)[1:2]


async def test_target(executor: FakeExecutor) -> None:
    text = "FROM base AS one\nRUN 1\nFROM base AS two\nRUN 2\n"
    await build(executor, text, BuildOptions(target="ONE"))
    assert [step.argv[-1] for step in executor.ran] == ["1"]
    with pytest.raises(InvalidParameter) as caught:
        await build(executor, text, BuildOptions(target="zz"))
    assert str(caught.value) == 'target stage "zz" could not be found'
    with pytest.raises(InvalidParameter, match=r"did you mean two\?"):
        await build(executor, text, BuildOptions(target="twoo"))


async def test_copy_from_image_and_bad_number(executor: FakeExecutor) -> None:
    other = executor.add_image("other:1")
    await build(executor, "FROM base\nCOPY --from=other:1 /x /y\n")
    assert executor.copied[0].parts[0].tree.layers == other.layers
    for name in ("1", "scratch"):
        with pytest.raises(DockerfileError, match=f"invalid from flag value {name}"):
            await build(executor, f"FROM base\nCOPY --from={name} /x /y\n")


async def test_onbuild(executor: FakeExecutor) -> None:
    parent = await build(executor, "FROM base\nONBUILD COPY a.txt /t\nONBUILD RUN t\n")
    executor.images["parent"] = executor.images["base"].__class__(
        parent.built.image, encode(parent.config), parent.layers
    )
    result = await build(executor, "FROM parent\nRUN own\n")
    assert "# Executing 2 build triggers\n" in result.text
    assert [step.argv[-1] for step in executor.ran] == ["t", "own"]
    assert result.config.run.on_build is None
    assert "Step 2/2 : RUN own" in result.text


async def test_heredocs(executor: FakeExecutor) -> None:
    await build(
        executor,
        "FROM base\nENV v=1\nRUN <<E\na\nb\nE\nRUN <<S\n#!/x\ny\nS\nRUN cat <<A >b\n$v\nA\n"
        "COPY <<f <<'g' /d/\n$v\nf\n$v\ng\n",
    )
    first, script, cat = executor.ran
    assert first.argv == ("/bin/sh", "-c", "a\nb\n")
    assert (script.argv, script.script) == (("/dev/pipes/S",), "#!/x\ny\n")
    assert cat.argv[-1] == "cat <<A >b\n$v\nA"
    assert executor.trees["0"] == {"f": b"1\n", "g": b"$v\n"}


async def test_add_of_urls(executor: FakeExecutor) -> None:
    await build(executor, "FROM base\nADD http://h/p/x.tar.gz?q=1 a.txt /d/\n")
    remote, local = executor.copied[0].parts  # in this order: the later one wins
    assert (local.extract, local.sources) == (True, ("a.txt",))
    assert (remote.extract, remote.sources) == (False, ("x.tar.gz",))


async def test_add_of_repositories(executor: FakeExecutor) -> None:
    for git in ("https://h/x.git#main", "git@h:x"):
        await build(executor, f"FROM base\nADD --keep-git-dir {git} /d/\n")
        (part,) = executor.copied[-1].parts
        assert part.sources == (".",)
        assert executor.trees[part.tree.handle]["."] == f"{git}  True".encode()


async def test_checksums_of_urls(executor: FakeExecutor) -> None:
    good = "sha256:" + "a" * 64
    await build(executor, f"FROM base\nARG c={good}\nADD --checksum=$c http://h/x /d/\n")
    with pytest.raises(DockerfileError, match="invalid checksum"):
        await build(executor, "FROM base\nADD --checksum=md5:1 http://h/x /d/\n")


async def test_copy_flags_and_destination(executor: FakeExecutor) -> None:
    await build(
        executor, "FROM base\nENV u=7\nWORKDIR /w\nCOPY --chown=$u:8 --chmod=0640 a.txt ./\n"
    )
    (copy,) = executor.copied
    assert (copy.destination, copy.owner, copy.mode) == ("/w/", "7:8", "0640")


async def test_scratch_alone_makes_no_image(executor: FakeExecutor) -> None:
    with pytest.raises(StepFailed, match="No image was generated"):
        await build(executor, "FROM scratch\n")


async def test_from_alone_is_the_base(executor: FakeExecutor) -> None:
    result = await build(executor, "FROM base\n", BuildOptions(tags=("t",)))
    assert result.built.image == executor.images["base"].id


async def test_labels_are_not_expanded(executor: FakeExecutor) -> None:
    result = await build(
        executor, "FROM base\nENV a=1\n", BuildOptions(labels={"k": "$a 'q' \"d\""})
    )
    assert result.config.run.labels == {"k": "$a 'q' \"d\""}
    assert "Step 3/3 : LABEL k=" in result.text


async def test_pull_network_and_platform_are_handed_on(executor: FakeExecutor) -> None:
    options = BuildOptions(pull=True, network_mode="host", platform="linux/arm64")
    await build(executor, "FROM base\nRUN a\nRUN --network=none b\n", options)
    assert executor.pulled == [("base", "linux/arm64", True)]
    assert [step.network for step in executor.ran] == ["host", "none"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (BuildOptions(squash=True), "squash"),
        (BuildOptions(isolation="hyperv"), "isolation"),
        (BuildOptions(security_options=("x",)), "securityopt"),
    ],
)
async def test_refused_options(executor: FakeExecutor, options: BuildOptions, named: str) -> None:
    with pytest.raises(Unsupported, match=named):
        await build(executor, "FROM base\n", options)


async def test_foreign_front_end_is_refused(executor: FakeExecutor) -> None:
    with pytest.raises(DockerfileError, match="front end"):
        await build(executor, "# syntax=evil/frontend\nFROM base\n")
    await build(executor, "# syntax=docker/dockerfile:1.7\nFROM base\n")


async def test_unknown_base(executor: FakeExecutor) -> None:
    with pytest.raises(NotFound):
        await build(executor, "FROM nope\n")
    with pytest.raises(DockerfileError, match="should not be blank"):
        await build(executor, "FROM $nope\n")


@pytest.mark.parametrize(
    ("flag", "entitlement"),
    [("--network=host", "network.host"), ("--security=insecure", "security.insecure")],
)
async def test_what_weakens_the_sandbox_must_be_allowed(
    executor: FakeExecutor, flag: str, entitlement: str
) -> None:
    with pytest.raises(DockerfileError, match=f"{entitlement} is not allowed"):
        await build(executor, f"FROM base\nRUN {flag} x\n")
    await build(executor, f"FROM base\nRUN {flag} x\n", BuildOptions(allow=(entitlement,)))
    assert executor.ran[0].insecure == (entitlement == "security.insecure")
