"""The checks of Dockerfiles: each rule by a file that breaks it and one that does not."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import pytest

from build.fakes import FakeExecutor, build
from ketch.build.contexts.ignore import parse_ignore
from ketch.build.dockerfile.ast import Dockerfile
from ketch.build.dockerfile.parser import parse
from ketch.build.dockerfile.scope import GlobalScope
from ketch.build.dockerfile.source import DockerfileError
from ketch.build.lint import answers, guesses
from ketch.build.lint.check import check_all
from ketch.build.lint.choice import choice_of, parse_choice
from ketch.build.lint.rules import RULES, Finding
from ketch.build.lint.workdirs import check_workdirs
from ketch.build.prepared import planned
from ketch.build.progress.events import Warned
from ketch.build.request.options import BuildOptions
from ketch.errors import InvalidParameter
from ketch.oci.image import ImageConfig, RunConfig

PLATFORM = {"TARGETPLATFORM": "linux/amd64", "BUILDPLATFORM": "linux/amd64", "TARGETARCH": "amd64"}

CASES = [  # rule, file that breaks it, line, piece of the detail, file that does not
    ("StageNameCasing", "FROM a AS Base", 1, "Stage name 'Base'", "FROM a AS base"),
    ("FromAsCasing", "FROM a as b", 1, "'as' and 'FROM'", "from a as b"),
    (
        "NoEmptyContinuation",
        "FROM a\nRUN x \\\n\n  y",
        3,
        "Empty continuation line",
        "FROM a\nRUN x \\\n#\n  y\n\nRUN <<E\n\nE",
    ),
    ("ConsistentInstructionCasing", "FROM a\nRun x", 2, "'Run'", "FROM a\nRUN x"),
    ("ConsistentInstructionCasing", "from a\nrun x\nRUN y", 3, "(lowercase)", "from a\nrun x"),
    ("DuplicateStageName", "FROM a AS b\nFROM a AS b", 2, '"b"', "FROM a AS b\nFROM a AS c"),
    ("ReservedStageName", "FROM a AS scratch", 1, '"scratch"', "FROM a AS scratchy"),
    ("JSONArgsRecommended", "FROM a\nCMD x y", 2, "for CMD", 'FROM a\nCMD ["x", "y"]'),
    (
        "JSONArgsRecommended",
        "FROM a\nENTRYPOINT x",
        2,
        "for ENTRYPOINT",
        'FROM a\nSHELL ["sh", "-c"]\nENTRYPOINT x',
    ),
    ("MaintainerDeprecated", "FROM a\nMAINTAINER me", 2, "label", "FROM a\nLABEL maintainer=me"),
    ("UndefinedArgInFrom", "ARG TAG=1\nFROM a:$TGA", 2, "'TGA' is not", "ARG TAG=1\nFROM a:$TAG"),
    ("UndefinedArgInFrom", "FROM a:${X}", 1, "'X'", "FROM a:${X:-1}"),
    (
        "UndefinedVar",
        "FROM scratch\nCOPY $foo /",
        2,
        "'$foo'",
        "FROM scratch\nARG foo\nCOPY $foo /",
    ),
    (
        "UndefinedVar",
        "FROM scratch\nARG foo\nENV b=$fo",
        3,
        "(did you mean $foo?)",
        "FROM ?\nENV b=$q",
    ),
    (
        "UndefinedVar",
        "FROM scratch AS x\nFROM x\nWORKDIR /$d",
        3,
        "'$d'",
        "FROM scratch AS x\nENV d=1\nFROM x\nWORKDIR /$d",
    ),
    ("UndefinedVar", "FROM base\nENV b=$NOPE", 2, "$NOPE", "FROM base\nENV b=$PATH"),
    ("WorkdirRelativePath", "FROM a\nWORKDIR x", 2, '"x"', "FROM a\nWORKDIR /x\nWORKDIR y"),
    (
        "WorkdirRelativePath",
        "FROM a AS b\nFROM b\nWORKDIR x",
        3,
        '"x"',
        "FROM a AS b\nWORKDIR /w\nFROM b\nWORKDIR x",
    ),
    ("SecretsUsedInArgOrEnv", "FROM a\nARG API_TOKEN", 2, '"API_TOKEN"', "FROM a\nARG TOKENS"),
    (
        "SecretsUsedInArgOrEnv",
        "FROM a\nENV passwd=x",
        2,
        '(ENV "passwd")',
        "FROM a\nENV PUBLIC_KEY=x",
    ),
    ("LegacyKeyValueFormat", "FROM a\nENV x y", 2, '"ENV key=value"', "FROM a\nENV x=y"),
    ("LegacyKeyValueFormat", "FROM a\nLABEL x y", 2, '"LABEL key', "FROM a\nLABEL x=y z=a"),
    (
        "LegacyKeyValueFormat",
        "FROM a\nENV x y=1",
        2,
        "ENV key=value",
        'FROM a\nLABEL "k k"= "b c"=d',
    ),
    (
        "MultipleInstructionsDisallowed",
        'FROM a\nCMD ["x"]\nCMD ["y"]',
        2,
        "Multiple CMD",
        'FROM a AS b\nCMD ["x"]\nFROM b\nCMD ["y"]',
    ),
    (
        "RedundantTargetPlatform",
        "FROM --platform=$TARGETPLATFORM a",
        1,
        "$TARGETPLATFORM",
        "FROM --platform=$BUILDPLATFORM a",
    ),
    (
        "FromPlatformFlagConstDisallowed",
        "FROM --platform=linux/amd64 a",
        1,
        '"linux/amd64"',
        "FROM --platform=linux/amd64 a AS build-amd64",
    ),
    ("InvalidDefaultArgInFrom", "ARG T\nFROM a:$T", 2, "a:$T", "ARG T=1\nFROM a:$T"),
    ("ExposeProtoCasing", "FROM a\nEXPOSE 80/TCP", 2, "'80/TCP'", "FROM a\nEXPOSE 80/tcp"),
    ("ExposeInvalidFormat", "FROM a\nEXPOSE 80:80", 2, "'80:80'", "FROM a\nEXPOSE ${p:-80}"),
    ("CopyIgnoredFile", "FROM a\nCOPY x.log /", 2, '"x.log"', "FROM a\nCOPY keep.log /"),
    (
        "InvalidDefinitionDescription",
        "# what it is\nFROM a AS b",
        2,
        "# b <description>",
        "# b what it is\nFROM a AS b",
    ),
]


def scope_of(dockerfile: Dockerfile, given: Mapping[str, str] | None = None) -> GlobalScope:
    scope = GlobalScope(given or {}, PLATFORM, dockerfile.escape)
    for arg in dockerfile.global_args:
        scope.declare(arg)
    return scope


def check(text: str, directive: str = "experimental=all") -> list[Finding]:
    dockerfile = parse(text.encode())
    ignore = parse_ignore(b"*.log\n!keep.log\n")
    known = {"base": {"PATH"}, "?": None, "a": None}
    return check_all(dockerfile, scope_of(dockerfile), parse_choice(directive), ignore, known.get)


@pytest.mark.parametrize(("rule", "bad", "line", "detail", "good"), CASES)
def test_rule(rule: str, bad: str, line: int, detail: str, good: str) -> None:
    (found,) = [finding for finding in check(bad) if finding.rule.name == rule]
    assert found.line == line
    assert detail in found.detail
    assert found.suggestion
    assert found.rule.url.startswith("https://docs.docker.com/go/dockerfile/rule/")
    assert rule not in {finding.rule.name for finding in check(good)}


def test_every_rule_has_a_case() -> None:
    by_build = {"InvalidBaseImagePlatform"}  # only a build sees the base image
    assert {case[0] for case in CASES} == {rule.name for rule in RULES.values()} - by_build


def test_urls() -> None:
    assert RULES["jsonargsrecommended"].url.endswith("/json-args-recommended/")
    assert RULES["fromascasing"].url.endswith("/from-as-casing/")


def test_directive_skips_and_fails() -> None:
    text = "# check=skip=JSONArgsRecommended,MaintainerDeprecated\nFROM a\nCMD x\nMAINTAINER y\n"
    dockerfile = parse(text.encode())
    choice = choice_of(dockerfile, {})
    assert not check_all(
        dockerfile, scope_of(dockerfile), choice, parse_ignore(b""), lambda _: None
    )
    assert choice_of(dockerfile, {"BUILDKIT_DOCKERFILE_CHECK": "skip=all;error=true"}).error
    assert parse_choice("skip=RuleOfTheFuture").skip == {"RuleOfTheFuture"}
    for wrong in ("skip", "error=maybe", "slip=all", "Skip=all", "skip=all;", "skip=all;;error=1"):
        with pytest.raises(InvalidParameter):
            parse_choice(wrong)


@pytest.mark.parametrize(
    ("directive", "skipped"),
    [
        ("skip=maintainerdeprecated", False),
        ("skip=ALL", False),
        ("skip=all;skip=none", True),
        ("skip=MaintainerDeprecated;skip=StageNameCasing", False),
        ("skip=StageNameCasing, MaintainerDeprecated;error=true", False),
        ("error=T;skip=MaintainerDeprecated", True),
        ("", False),
    ],
)
def test_a_directive_is_read_as_buildkit_reads_it(directive: str, skipped: bool) -> None:
    """Rules and options as they are spelt, to the first blank; ``all`` is not taken back."""
    dockerfile = parse(f"# check={directive}\nFROM a\nMAINTAINER y\n".encode())
    choice = choice_of(dockerfile, {})
    assert choice.counts(RULES["maintainerdeprecated"]) is not skipped
    assert choice.error is directive.startswith("error=T")


def test_what_onbuild_declares_is_declared() -> None:
    text = "FROM base AS b\nONBUILD ARG x\nONBUILD ENV y=1\nFROM b\nENV z=$x$y$w"
    assert [finding.detail for finding in check(text)] == ["Usage of undefined variable '$w'"]


def test_variables_that_are_not_declared() -> None:
    """Also those of proxies, and where a pattern changes the value."""
    text = "FROM base\nENV b=$HTTP_PROXY c=${d#x} e=${f/x/y} g=${h:-x}"
    assert [finding.detail.split("'")[1] for finding in check(text)] == ["$HTTP_PROXY", "$d", "$f"]


def test_cmd_alone_is_a_command_for_the_shell() -> None:
    assert [finding.rule.name for finding in check("FROM a\nCMD")] == ["JSONArgsRecommended"]


def test_a_shell_is_chosen_before_the_command_or_below_it() -> None:
    """SHELL at any place of the stage counted, and not that of the stage it stands on."""
    (after,) = check('FROM a\nCMD x\nSHELL ["x"]')
    assert (after.rule.name, after.line) == ("JSONArgsRecommended", 2)
    assert not check('FROM a AS b\nSHELL ["x"]\nFROM b AS c\nFROM c\nCMD x')
    assert check('FROM a AS b\nSHELL ["x"]\nFROM a\nCMD x')


async def test_what_stands_in_stages_that_are_not_built_is_no_warning(
    executor: FakeExecutor,
) -> None:
    """With ``check=error=true`` it ended builds that Docker does."""
    writing = "ENV a b\nENV TOKEN=1\nWORKDIR a\nEXPOSE 80/TCP 1:80\nCMD x\nCMD y\nCOPY $p /\n"
    text = f"FROM base AS Other\n{writing}FROM base AS last\n"
    built = await build(executor, text)
    found = {event.rule for event in built.events if isinstance(event, Warned)}
    assert found == {"StageNameCasing"}
    choice = "# check=error=true;skip=StageNameCasing\n"
    await build(executor, choice + text)
    with pytest.raises(DockerfileError, match="LegacyKeyValueFormat, SecretsUsed"):
        await build(executor, choice + text, BuildOptions(target="other"))
    dockerfile = parse(text.encode())
    unknown, rules = parse_ignore(b""), parse_choice("")
    target = check_all(dockerfile, scope_of(dockerfile), rules, unknown, lambda _: (), {1})
    assert {finding.rule.name for finding in target} == {"StageNameCasing"}
    everything = check_all(dockerfile, scope_of(dockerfile), rules, unknown, lambda _: ())
    assert {"UndefinedVar", "WorkdirRelativePath"} <= {each.rule.name for each in everything}


def test_experimental_rules_are_off() -> None:
    assert not check("FROM a\nCOPY x.log /", "")
    assert not check("# c\nFROM a AS b", "experimental=copyignoredfile")


async def test_findings_are_warnings_of_a_build(executor: FakeExecutor) -> None:
    text = "FROM base\nARG foo\nENV x=$fob\nCMD echo\n"
    built = await build(executor, text)
    found = [event for event in built.events if isinstance(event, Warned)]
    assert [(event.rule, event.line) for event in found] == [
        ("JSONArgsRecommended", 4),
        ("UndefinedVar", 3),
    ]


async def test_error_true_ends_a_build(executor: FakeExecutor) -> None:
    with pytest.raises(DockerfileError, match="lint violation found for rules: JSONArgs"):
        await build(executor, "# check=error=true\nFROM base\nCMD echo\n")
    with pytest.raises(DockerfileError, match="UndefinedVar"):
        await build(executor, "# check=error=true\nFROM base\nENV x=$nope\n")


def test_answers_are_buildkits() -> None:
    data = b"# one the first\nFROM a AS one\nFROM scratch AS two\n# v what\nARG v=1\nRUN "
    data += b"--mount=type=secret,id=s,required --mount=type=ssh --mount=type=cache,target=/c x\n"
    dockerfile = parse(data)
    found = answers.targets(dockerfile, data)
    (one, two) = found.document["targets"]
    assert (one["description"], one["default"], two["default"]) == ("the first", False, True)
    scope, plan = planned(dockerfile, BuildOptions(), PLATFORM)
    document = answers.outline(dockerfile, plan, scope, data).document
    assert document["args"][0]["name"] == "v"
    assert document["args"][0]["description"] == "what"
    assert document["secrets"][0]["required"] is True
    assert (document["ssh"][0]["name"], document["cache"][0]["ID"]) == ("default", "/c")
    metadata = answers.lint(dockerfile, data, check(data.decode(), "")).metadata()
    assert metadata["version"] == b"1.0.0"
    assert json.loads(metadata["result.json"])["sources"][0]["filename"] == "Dockerfile"
    names = {request["name"] for request in answers.describe().document}
    assert names == {answers.LINT, answers.OUTLINE, answers.TARGETS, answers.DESCRIBE}


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("", ["G box 1", "P linux/amd64 2", "TWICE 8 7", "V 2 8", "X 9 16"]),
        ("one", ["P linux/amd64 2", "TWICE 8 7", "V 2 8"]),
        ("two", ["G box 1", "TWICE 3 3", "X 9 11", "V 5 12"]),
    ],
)
def test_an_outline_has_the_arguments_that_are_used(target: str, told: list[str]) -> None:
    """As Docker 28.5 tells of the same file."""
    data = b"""ARG G=box
ARG P=$BUILDPLATFORM
ARG TWICE=3
ARG THRICE=4
ARG H=$THRICE
FROM --platform=$P busybox AS one
ARG TWICE=8
ARG V=2
FROM busy${G} AS two
ARG TWICE
ARG X=$TWICE
ARG V=5
FROM one
COPY --from=two /etc /x
RUN --mount=from=two,target=/y true
ARG X
"""
    options = BuildOptions(target=target, build_args={"X": "9"})
    dockerfile = parse(data)
    scope, plan = planned(dockerfile, options, {**PLATFORM, "BUILDPLATFORM": "linux/amd64"})
    args = answers.outline(dockerfile, plan, scope, data).document["args"]
    lines = [arg["location"]["ranges"][0]["start"]["line"] for arg in args]
    assert [f"{a['name']} {a['value']} {n}" for a, n in zip(args, lines, strict=True)] == told


def test_an_outline_has_the_arguments_behind_the_defaults_of_others() -> None:
    """As Docker 28.5 has it; containerd's release Dockerfile puts images together like that."""
    data = b"""ARG A=1
ARG B=$A
ARG C=${NOPE:-$B}
ARG D=4
ARG E=$D F=x
FROM busybox:$F
ARG C
ARG A=5
ARG G=$D
"""
    dockerfile = parse(data)
    scope, plan = planned(dockerfile, BuildOptions(), PLATFORM)
    args = answers.outline(dockerfile, plan, scope, data).document["args"]
    told = [f"{arg['name']}={arg['value']}" for arg in args]
    assert told == ["B=1", "C=1", "F=x", "A=5", "G="]


def test_any_comment_since_the_instruction_before_describes() -> None:
    """As Docker 28.5 has it."""
    data = b"""# A first
# A second
ARG A=
# B two

# of lines
 # B indented
ARG B=
## C many
ARG C
# D is not told of
#
# but this is
ARG D=
#
# E five
ARG E
# q it
# is
FROM base AS q
ARG A
ARG B
ARG C
ARG D
# E its own
ARG E
"""
    dockerfile = parse(data)
    scope, plan = planned(dockerfile, BuildOptions(), PLATFORM)
    document = answers.outline(dockerfile, plan, scope, data).document
    described = {arg["name"]: arg["description"] for arg in document["args"]}
    assert described == {"A": "first", "B": "two", "C": "", "D": "", "E": "its own"}
    assert document["description"] == "it"
    found = [one for one in check(data.decode()) if one.rule.name == "InvalidDefinitionDescription"]
    assert [finding.detail.split("`")[1] for finding in found] == [
        "# B <description>",
        "# C <description>",
        "# D <description>",
        "# q <description>",
    ]


def test_arguments_before_the_first_stage_have_no_part_in_the_casing() -> None:
    """As Docker 28.5 has it."""
    found = check("arg a\narg b\narg c\nFROM a\nRUN x\nrun y", "")
    assert [(one.rule.name, one.place.start.line) for one in found] == [
        ("ConsistentInstructionCasing", 6)
    ]


@pytest.mark.parametrize(
    ("text", "given", "told"),
    [
        ("FROM a\nENV X=rel\nWORKDIR $X/y", {}, ["rel/y"]),
        ("FROM a AS b\nARG W=rel\nFROM b\nWORKDIR ${W}", {}, ["rel"]),
        ("FROM a AS b\nARG W=rel\nFROM b\nWORKDIR ${W}", {"W": "/abs"}, []),
        ("ARG W=rel\nFROM a\nARG W\nWORKDIR $W", {}, ["rel"]),
        ("ARG W=rel\nFROM a\nARG V\nWORKDIR $V", {}, [""]),
        ("FROM a\nENV Y=/abs\nARG Y=rel\nWORKDIR $Y", {}, ["rel"]),
        ("FROM a\nARG Y=rel\nENV Y=/abs\nWORKDIR $Y\nWORKDIR b", {}, []),
        ("FROM a\nWORKDIR $OF_THE_IMAGE\nWORKDIR b", {}, []),
        ("FROM a\nWORKDIR ${OF_THE_IMAGE:-b}", {}, []),
        ('FROM a\nWORKDIR "x y"', {}, ["x y"]),
        ("# escape=`\nFROM a\nENV G=C:\\go\nWORKDIR ${G}\\src", {}, ["C:\\\\go\\\\src"]),
    ],
)
def test_a_workdir_is_relative_by_what_its_variables_are(
    text: str, given: dict[str, str], told: list[str]
) -> None:
    """As Docker 28.5 has it, but that of the base image's variables nothing is known."""
    found = check_workdirs(parse(text.encode()), scope_of(parse(text.encode()), given))
    assert [finding.detail.split('"')[1] for finding in found] == told


def test_findings_name_instructions_as_they_are_written() -> None:
    """As Docker 28.5 does; and an ARG before the first stage may be called what it wants."""
    text = "arg TOKEN\nfrom a\nenv b c\nlabel d e\ncmd f\ncmd g\nentrypoint h"
    details = [finding.detail for finding in check(text, "")]
    assert sorted(detail[:38] for detail in details) == [
        '"env key=value" should be used instead',
        '"label key=value" should be used inste',
        "JSON arguments recommended for cmd to ",
        "JSON arguments recommended for cmd to ",
        "JSON arguments recommended for entrypo",
        "Multiple cmd instructions should not b",
    ]


def test_a_long_chain_of_stages_is_checked_at_once() -> None:
    """What each stage stands on was looked for in all of them at each step of the way down: a file
    of 2,000 stages took five minutes, in which the daemon answered nobody."""
    chain = "".join(f"FROM s{n} AS s{n + 1}\n" for n in range(1998))
    dockerfile = parse(f"FROM x AS s0\n{chain}FROM s1998\nWORKDIR a\n".encode())
    found = check_all(
        dockerfile, scope_of(dockerfile), parse_choice(""), parse_ignore(b""), lambda _: None
    )
    assert [finding.rule.name for finding in found] == ["WorkdirRelativePath"]


def test_thousands_of_misspelt_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was compared with all: 70 KB of Dockerfile took half a minute of the daemon's loop."""
    compared = 0
    look = guesses.did_you_mean

    def counted(word: str, known: Collection[str]) -> str:
        nonlocal compared
        compared += len(known)
        return look(word, known)

    monkeypatch.setattr(guesses, "did_you_mean", counted)
    args = "".join(f"ARG variable{n}=1\n" for n in range(1900))
    stages = "".join(f"FROM $variabel{n}\n" for n in range(1900))
    labels = "".join(f"ENV variable{n}=1\nLABEL a=$variabel{n}\n" for n in range(1900))
    found = check(f"{args}{stages}FROM scratch\n{labels}")
    said = [finding.detail for finding in found if finding.rule.name.startswith("Undefined")]
    assert len(said) == 2 * 1900
    assert "did you mean variable0" in said[0]
    assert 0 < compared < 50_000


async def test_a_base_image_of_another_platform(executor: FakeExecutor) -> None:
    config = ImageConfig(architecture="s390x", os="linux", config=RunConfig(env=["A=b"]))
    executor.add_image("foreign", config)
    built = await build(executor, "FROM foreign\nRUN x\n")
    (found,) = [event for event in built.events if isinstance(event, Warned)]
    assert found.rule == "InvalidBaseImagePlatform"
    assert found.sentence.startswith("Base image foreign was pulled with platform")


def test_suggestions_do_what_the_shell_did() -> None:
    (plain,) = check("FROM a\nCMD echo hello")
    assert 'CMD ["echo", "hello"]' in plain.suggestion
    (shell,) = check("FROM a\nCMD echo $HOME")
    assert 'CMD ["/bin/sh", "-c", "exec echo $HOME"]' in shell.suggestion
