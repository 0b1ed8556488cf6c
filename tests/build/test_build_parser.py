"""Dockerfile syntax: what parses, and into what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.build.dockerfile.ast import Dockerfile, Instruction
from ketch.build.dockerfile.parser import parse, parse_trigger
from ketch.build.dockerfile.plan import Plan, make_plan
from ketch.build.dockerfile.scope import GlobalScope
from ketch.build.dockerfile.source import DockerfileError


def steps(text: str) -> tuple[Instruction, ...]:
    """The instructions behind a FROM."""
    return parse(("FROM base\n" + text).encode()).stages[0].steps


def fields(step: Instruction) -> dict[str, object]:
    """What is not empty, but for places."""
    names = [name for name in step.__struct_fields__ if name not in ("line", "comment")]
    return {name: getattr(step, name) for name in names if getattr(step, name)}


def shell(text: str) -> tuple[tuple[str, ...], bool]:
    return ((text,), True)


TREES = [
    ("run-shell", "RUN echo  a | cat", ("RUN", shell("echo  a | cat"))),
    ("run-exec", 'RUN ["echo", "a b"]', ("RUN", (("echo", "a b"), False))),
    ("run-bad-json-is-shell", "RUN [ -f x ]", ("RUN", shell("[ -f x ]"))),
    ("run-single-quotes-are-shell", "RUN ['a']", ("RUN", shell("['a']"))),
    ("run-numbers-and-words-are-shell", "RUN [1] x", ("RUN", shell("[1] x"))),
    ("run-nothing", "RUN", ("RUN", shell(""))),
    ("run-json-then-words-is-shell", 'RUN ["a"] b', ("RUN", shell('["a"] b'))),
    ("run-json-comment", 'RUN ["a"] # b', ("RUN", (("a",), False))),
    ("run-comment-stays", "RUN make # x", ("RUN", shell("make # x"))),
    ("run-continued", "RUN a && \\\n  b", ("RUN", shell("a &&   b"))),
    ("run-continued-blank-after", "RUN a && \\  \n  b", ("RUN", shell("a &&   b"))),
    ("run-continued-crlf", "RUN a \\\r\n b\r", ("RUN", shell("a  b"))),
    ("run-comment-between", "RUN a \\\n# no\n   # no\n b", ("RUN", shell("a  b"))),
    ("run-blank-between", "RUN a \\\n\n\n b", ("RUN", shell("a  b"))),
    ("run-double-escape-ends", "RUN a \\\\\nRUN b", ("RUN", shell("a \\\\"))),
    ("lower-case", "run a", ("RUN", shell("a"))),
    ("indented", "   RUN a", ("RUN", shell("a"))),
    ("cmd-shell", "CMD a b", ("CMD", shell("a b"))),
    ("cmd-exec", 'CMD ["a","b"]', ("CMD", (("a", "b"), False))),
    ("cmd-empty", "CMD []", ("CMD", ((), False))),
    ("cmd-unicode", 'CMD ["\\u00e9"]', ("CMD", (("é",), False))),
    ("entrypoint", 'ENTRYPOINT ["/e"]', ("ENTRYPOINT", (("/e",), False))),
]


@pytest.mark.parametrize(("text", "expected"), [t[1:] for t in TREES], ids=[t[0] for t in TREES])
def test_commands(text: str, expected: tuple[str, tuple[tuple[str, ...], bool]]) -> None:
    step = steps(text)[0]
    command = step.command  # type: ignore[attr-defined]
    assert (step.name, (command.words, command.shell)) == expected


WORDS = [
    ("env", "ENV a=b c=d", {"pairs": (("a", "b"), ("c", "d"))}),
    ("env-old", "ENV a b  c", {"pairs": (("a", "b  c"),)}),
    ("env-quotes-stay", "ENV a=\"b c\" d='e f'", {"pairs": (("a", '"b c"'), ("d", "'e f'"))}),
    ("env-escaped-blank", "ENV a=b\\ c", {"pairs": (("a", "b\\ c"),)}),
    ("env-empty-value", "ENV a=", {"pairs": (("a", ""),)}),
    ("env-equals-in-value", "ENV a=b=c", {"pairs": (("a", "b=c"),)}),
    ("env-continued", "ENV a=b \\\n  c=d", {"pairs": (("a", "b"), ("c", "d"))}),
    ("label", 'LABEL "a b"="c"', {"pairs": (('"a b"', '"c"'),)}),
    ("arg", "ARG a b=c", {"pairs": (("a", None), ("b", "c"))}),
    ("arg-empty", "ARG a=", {"pairs": (("a", ""),)}),
    ("copy", "COPY a b /c", {"sources": ("a", "b"), "destination": "/c"}),
    ("copy-json", 'COPY ["a b", "/c d"]', {"sources": ("a b",), "destination": "/c d"}),
    (
        "copy-flags",
        "COPY --from=x --chown=1:2 --chmod=644 a b",
        {"sources": ("a",), "destination": "b", "from_": "x", "chown": "1:2", "chmod": "644"},
    ),
    (
        "copy-flag-quoted",
        'COPY --chown="1" a b',
        {"sources": ("a",), "destination": "b", "chown": "1"},
    ),
    ("copy-dashes", "COPY -- --a b", {"sources": ("--a",), "destination": "b"}),
    ("add", "ADD http://h/x /y/", {"sources": ("http://h/x",), "destination": "/y/"}),
    ("copy-hash-file", "COPY # /x", {"sources": ("#",), "destination": "/x"}),
    ("copy-to-hash", "COPY a #", {"sources": ("a",), "destination": "#"}),
    ("expose", "EXPOSE 80 443/udp $P", {"ports": ("80", "443/udp", "$P")}),
    ("volume", "VOLUME /a /b", {"paths": ("/a", "/b")}),
    ("volume-json", 'VOLUME ["/a b"]', {"paths": ("/a b",)}),
    ("user", "USER a:b", {"user": "a:b"}),
    ("workdir-blanks", "WORKDIR /a b", {"path": "/a b"}),
    ("stopsignal", "STOPSIGNAL SIGTERM", {"signal": "SIGTERM"}),
    ("maintainer", "MAINTAINER A <a@b>", {"author": "A <a@b>"}),
    ("shell", 'SHELL ["/bin/bash", "-c"]', {"words": ("/bin/bash", "-c")}),
    ("onbuild", "ONBUILD RUN a  b", {"trigger": "RUN a  b"}),
    ("onbuild-heredoc", "ONBUILD RUN <<E\nx\nE", {"trigger": "RUN <<E\nx\nE"}),
    ("health-none", "HEALTHCHECK NONE", {"test": ("NONE",)}),
    ("health-shell", "HEALTHCHECK CMD a b", {"test": ("CMD-SHELL", "a b")}),
    (
        "health-all",
        "HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=1h --start-interval=2s "
        '--retries=5 CMD ["a"]',
        {
            "test": ("CMD", "a"),
            "interval": 90_000_000_000,
            "timeout": 500_000_000,
            "start_period": 3_600_000_000_000,
            "start_interval": 2_000_000_000,
            "retries": 5,
        },
    ),
]


@pytest.mark.parametrize(("text", "expected"), [w[1:] for w in WORDS], ids=[w[0] for w in WORDS])
def test_words(text: str, expected: dict[str, object]) -> None:
    assert fields(steps(text)[0]) == expected


ERRORS = [
    ("empty", "", None, "the Dockerfile (Dockerfile) cannot be empty"),
    ("only-comments", "# a\n\n", None, "the Dockerfile (Dockerfile) cannot be empty"),
    ("unknown", "FROM a\nBOGUS x", (2, 1), "unknown instruction: BOGUS"),
    ("typo", "FROM a\nRUNN x", (2, 1), "unknown instruction: RUNN (did you mean RUN?)"),
    ("typo-indented", "FROM a\n  CPOY x", (2, 3), "unknown instruction: CPOY (did you mean COPY?)"),
    ("no-from", "RUN a", (1, 1), "no build stage in current context"),
    ("only-arg", "ARG a", (1, 1), "no build stage in current context"),
    ("from-none", "FROM", (1, 5), "FROM requires either one or three arguments"),
    ("from-two", "FROM a b", (1, 6), "FROM requires either one or three arguments"),
    ("from-not-as", "FROM a OR b", (1, 6), "FROM requires either one or three arguments"),
    ("from-as-bad", "FROM a AS 1b", (1, 11), 'invalid name for build stage: "1b"'),
    ("from-flag", "FROM --platfrom=x a", (1, 6), "unknown flag: --platfrom (did you mean"),
    ("run-numbers", "FROM a\nRUN [1]", (2, 5), "arrays must be comprised of strings only"),
    ("run-device", "FROM a\nRUN --device=x b", (2, 5), "RUN --device is not supported"),
    ("run-empty-list", "FROM a\nRUN []", (2, 5), "RUN requires at least one argument"),
    ("mount-type", "FROM a\nRUN --mount=type=cahce,target=/x b", (2, 5), "did you mean cache"),
    ("mount-key", "FROM a\nRUN --mount=type=cache,tagret=/x b", (2, 5), "did you mean target"),
    (
        "mount-other-key",
        "FROM a\nRUN --mount=target=/x,uid=1 b",
        (2, 5),
        "is not for mounts of type",
    ),
    ("mount-sharing", "FROM a\nRUN --mount=type=cache,target=/x,sharing=lock b", (2, 5), "locked"),
    ("mount-mode", "FROM a\nRUN --mount=type=cache,target=/x,mode=9 b", (2, 5), "9 for mode"),
    ("mount-from", "FROM a\nRUN --mount=target=/x,from=$y b", (2, 5), "variable expansion is not"),
    ("mount-second", "FROM a\nRUN --mount=target=/x --mount=x b", (2, 23), "unexpected key 'x'"),
    ("run-security", "FROM a\nRUN --security=x b", (2, 5), "invalid value 'x' for --security"),
    ("run-network", "FROM a\nRUN --network=x b", (2, 5), "invalid value 'x' for --network"),
    ("copy-one", "FROM a\nCOPY x", (2, 6), "COPY requires at least two arguments"),
    ("copy-link", "FROM a\nCOPY --link=yes a b", (2, 6), "expecting boolean value for flag --link"),
    ("copy-typo", "FROM a\nCOPY --chwon=1 a b", (2, 6), "did you mean chown"),
    ("copy-flag-empty", "FROM a\nCOPY --from= a b", (2, 6), "missing a value on flag: --from"),
    ("copy-flag-twice", "FROM a\nCOPY --from=a --from=b a b", (2, 15), "duplicate flag specified"),
    ("add-unpack", "FROM a\nADD --unpack=x b c", (2, 5), "expecting boolean value"),
    ("add-from", "FROM a\nADD --from=x b c", (2, 5), "unknown flag: --from"),
    ("env-one", "FROM a\nENV x", (2, 5), "ENV must have two arguments"),
    ("env-no-equals", "FROM a\nENV a=b c", (2, 9), 'can\'t find = in "c"'),
    ("env-blank-name", "FROM a\nENV =b", (2, 5), "ENV names can not be blank"),
    ("arg-none", "FROM a\nARG", (2, 1), "ARG requires at least one argument"),
    ("arg-blank", "FROM a\nARG =b", (2, 5), "ARG names can not be blank"),
    ("shell-words", "FROM a\nSHELL bash -c", (2, 7), "SHELL requires the arguments to be in JSON"),
    ("shell-empty", "FROM a\nSHELL []", (2, 7), "SHELL requires at least one argument"),
    ("cmd-nested", 'FROM a\nCMD [["x"]]', (2, 5), "arrays must be comprised of strings only"),
    ("volume-empty", 'FROM a\nVOLUME [""]', (2, 8), "VOLUME specified can not be an empty string"),
    ("user-none", "FROM a\nUSER", (2, 1), "USER requires exactly one argument"),
    ("onbuild-onbuild", "FROM a\nONBUILD ONBUILD RUN a", (2, 9), "Chaining ONBUILD"),
    ("onbuild-from", "FROM a\nONBUILD FROM a", (2, 9), "FROM isn't allowed as an ONBUILD trigger"),
    ("onbuild-bad", "FROM a\nONBUILD COPY a", (2, 1), "COPY requires at least two arguments"),
    ("onbuild-typo", "FROM a\nONBUILD RUNN a", (2, 1), "unknown instruction: RUNN"),
    ("health-type", "FROM a\nHEALTHCHECK RUN a", (2, 13), 'Unknown type "RUN" in HEALTHCHECK'),
    ("health-none-args", "FROM a\nHEALTHCHECK NONE a", (2, 17), "HEALTHCHECK NONE takes no"),
    ("health-no-cmd", "FROM a\nHEALTHCHECK CMD", (2, 13), "Missing command after HEALTHCHECK CMD"),
    ("health-duration", "FROM a\nHEALTHCHECK --interval=5 CMD a", (2, 13), "invalid duration '5'"),
    ("health-short", "FROM a\nHEALTHCHECK --timeout=1us CMD a", (2, 13), "cannot be less than 1ms"),
    ("health-retries", "FROM a\nHEALTHCHECK --retries=x CMD a", (2, 13), "--retries must be a"),
    ("heredoc-open", "FROM a\nRUN <<EOF\nx", (2, 5), "unterminated heredoc"),
    ("escape-twice", "# escape=`\n# escape=`\nFROM a", (2, 1), "only one escape parser directive"),
    ("escape-bad", "# escape=x\nFROM a", (1, 1), "invalid escape character"),
    ("in-continuation", "FROM a\nRUN b \\\n c\nENV a=b \\\n   c", (5, 4), 'can\'t find = in "c"'),
    ("stopsignal-none", "FROM a\nSTOPSIGNAL", (2, 1), "STOPSIGNAL requires exactly one argument"),
    ("cmd-flag", "FROM a\nCMD --x=1 a", (2, 5), "unknown flag: --x"),
]


def planned(text: str) -> Plan:
    """Errors of mounts are told when it is known that their step is needed."""
    dockerfile = parse(text.encode())
    return make_plan(dockerfile, GlobalScope({}, {}, dockerfile.escape), "")


@pytest.mark.parametrize(
    ("text", "place", "reason"), [e[1:] for e in ERRORS], ids=[e[0] for e in ERRORS]
)
def test_errors(text: str, place: tuple[int, int] | None, reason: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        planned(text)
    error = caught.value
    assert reason in str(error)
    if place is not None:
        assert (error.line, error.column) == place
        assert str(error).startswith(f"dockerfile parse error on line {place[0]}: ")
        assert f"Dockerfile:{place[0]}:{place[1]}" in str(error)


def test_excerpt_marks_wide_characters() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse("FROM a\nENV 가=나 다\n".encode())
    assert str(caught.value).endswith(
        "   2 | >>> ENV 가=나 다\n     |               ^^\n--------------------"
    )


def test_korean_dockerfile() -> None:
    text = (
        "FROM ubuntu:22.04     # 베이스 이미지 지정\n"
        "COPY . /app           # 파일 복사\n"
        "RUN make /app         # 빌드 명령 실행\n"
        'CMD ["/app/server"]   # 컨테이너 시작 시 실행할 명령\n'
    )
    stage = parse(text.encode()).stages[0]
    copy, run, cmd = stage.steps
    assert stage.base.image == "ubuntu:22.04"
    assert stage.base.comment is not None
    assert stage.base.comment.text == "# 베이스 이미지 지정"
    assert fields(copy) == {
        "sources": (".",),
        "destination": "/app",
        "with_comment": (".", "/app", "#", "파일", "복사"),
    }
    assert run.command.words == ("make /app         # 빌드 명령 실행",)  # type: ignore[attr-defined]
    assert run.comment is None
    assert cmd.command.words == ("/app/server",)  # type: ignore[attr-defined]
    assert cmd.comment is not None
    assert cmd.comment.range.start.line == 4


def test_stages_directives_and_global_args() -> None:
    text = b"\xef\xbb\xbf# syntax=docker/dockerfile:1\r\n# escape=`\r\nARG v=1\r\n" + (
        b"FROM --platform=linux/amd64 a:$v AS Build\r\nRUN x `\r\n y\r\nFROM build\r\n"
    )
    dockerfile = parse(text)
    assert dockerfile.directives == {"syntax": "docker/dockerfile:1", "escape": "`"}
    assert dockerfile.global_args[0].pairs == (("v", "1"),)
    first, second = dockerfile.stages
    assert (first.base.image, first.base.alias, first.base.platform) == (
        "a:$v",
        "build",
        "linux/amd64",
    )
    assert first.steps[0].text == "RUN x  y"
    assert second.base.image == "build"


def test_a_comment_ends_the_directives() -> None:
    assert parse(b"# hello\n# escape=`\nFROM a").escape == "\\"


HEREDOCS = [
    ("plain", "RUN <<EOF\na\n b\nEOF", ("EOF", "a\n b\n", True)),
    ("quoted", "RUN <<'EOF'\n$a\nEOF", ("EOF", "$a\n", False)),
    ("chomped", "RUN <<-EOF\n\t\ta\n\tEOF", ("EOF", "a\n", True)),
    ("command", "RUN cat <<EOF > /x\na\nEOF", ("EOF", "a\n", True)),
    ("fd", "RUN 3<<EOF\na\nEOF", ("EOF", "a\n", True)),
    ("comment-lines-stay", "RUN <<EOF\n# a\n\nb \\\nEOF", ("EOF", "# a\n\nb \\\n", True)),
    ("empty", "RUN <<EOF\nEOF", ("EOF", "", True)),
    ("copy", "COPY <<a.txt /x/\nhi\na.txt", ("a.txt", "hi\n", True)),
    ("crlf", "RUN <<EOF\r\na\r\n b\r\nEOF\r", ("EOF", "a\r\n b\r\n", True)),
    ("crlf-chomped", "RUN <<-EOF\r\n\ta\r\n\tEOF\r", ("EOF", "a\r\n", True)),
    ("mixed", "RUN <<EOF\na\nb\r\nEOF", ("EOF", "a\nb\r\n", True)),
    ("variable", "COPY <<$X /d/\na\n$X", ("$X", "a\n", True)),
    ("braces", "COPY <<-${X}s /d/\n\ta\n\t${X}s", ("${X}s", "a\n", True)),
    ("dollar", "RUN <<a$\na\na$", ("a$", "a\n", True)),
    ("quoted-variable", 'RUN <<E"$X"F\na\nE$XF', ("E$XF", "a\n", False)),
    ("escaped", "RUN <<\\E\\OF\na\nEOF", ("EOF", "a\n", True)),
    ("escaped-quote", 'RUN <<\\"E\\"\na\n"E"', ('"E"', "a\n", True)),
    ("escape-in-quotes", 'RUN <<"a\\"\\b"\na\na"\\b', ('a"\\b', "a\n", False)),
    ("backtick", "RUN <<E`F\na\nE`F", ("E`F", "a\n", True)),
    ("no-other-line-ends", "RUN <<-EOF\n\ta\f\tb\nEOF", ("EOF", "a\f\tb\n", True)),
]


@pytest.mark.parametrize(
    ("text", "expected"), [h[1:] for h in HEREDOCS], ids=[h[0] for h in HEREDOCS]
)
def test_heredocs(text: str, expected: tuple[str, str, bool]) -> None:
    first, second = steps(text + "\nUSER x")
    document = first.heredocs[0]  # type: ignore[attr-defined]
    assert (document.name, document.text, document.expand) == expected
    assert second.name == "USER"


@pytest.mark.parametrize("word", ["-", "${X:-EOF}", '"${X#a}"', '"EOF', "a'", '""', "${X"])
def test_words_that_begin_no_heredoc(word: str) -> None:
    """As BuildKit takes them, whose lines that follow are instructions then."""
    with pytest.raises(DockerfileError, match="unknown instruction: ONE"):
        steps(f"RUN cat <<{word}\nONE\nEOF")


def test_two_heredocs() -> None:
    (copy,) = steps("COPY <<a <<b /x/\n1\na\n2\nb\n")
    assert [d.text for d in copy.heredocs] == ["1\n", "2\n"]  # type: ignore[attr-defined]


def test_ranges_reach_over_continuations() -> None:
    (run,) = steps("  RUN a \\\n   b")
    assert (run.range.start.line, run.range.start.column) == (2, 3)
    assert (run.range.end.line, run.range.end.column) == (3, 5)


def test_trigger_is_one_instruction() -> None:
    assert parse_trigger("COPY . /x").name == "COPY"
    with pytest.raises(DockerfileError):
        parse_trigger("RUN a\nRUN b")


LINE = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["FROM a", "RUN <<E", "E", "COPY a b \\", '["a', "# escape=`", "ENV a='", "HEALTHCHECK CMD"]
    ),
)


def parsed(data: bytes) -> Dockerfile | DockerfileError:
    try:
        return parse(data)
    except DockerfileError as error:
        return error


@given(st.lists(LINE, max_size=12))
def test_any_text_parses_or_says_where(lines: list[str]) -> None:
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    outcome = parsed(data)
    if isinstance(outcome, DockerfileError):
        assert 1 <= outcome.line <= max(1, data.count(b"\n") + 1)
        assert outcome.column >= 1
        return
    for stage in outcome.stages:
        for step in stage.steps:
            assert step.range.start <= step.range.end


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    try:
        parse(b"FROM a\nRUN " + data)
    except DockerfileError:
        pass


@pytest.mark.parametrize(
    "text", ["RUN a\0b", "COPY a\0 /", "WORKDIR /\0", 'CMD ["a\\u0000b"]', "RUN <<a\0\nx\na\0"]
)
def test_nul_is_refused_where_it_stands(text: str) -> None:
    """No system call takes one: without this, steps failed with the words of Python."""
    with pytest.raises(DockerfileError, match="NUL character"):
        steps(text)


def test_halves_of_surrogate_pairs_are_what_go_makes_of_them() -> None:
    (step,) = steps('CMD ["\\ud800", "\\ud83d\\ude00"]')
    assert fields(step)["command"].words == ("\ufffd", "\U0001f600")  # type: ignore[attr-defined]


def test_the_number_of_stages_is_bounded() -> None:
    """Whoever wrote the file must not keep the daemon busy with it."""
    text = "".join(f"FROM s{number} AS s{number + 1}\n" for number in range(2001))
    with pytest.raises(DockerfileError, match="more than 2000 stages"):
        parse(text.encode())
