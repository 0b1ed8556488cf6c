"""Command line parsing: Docker's rules."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.cli import (
    commands,
    complete_words,
    detach,
    help,
    help_sections,
    mount_flag,
    ports,
    units,
)
from ketch.cli.create_body import build
from ketch.cli.flags import Flag, HelpWanted, UsageError, parse
from ketch.cli.run_flags import FLAGS

SOME = (
    Flag("name", "n"),
    Flag("tty", "t", "switch"),
    Flag("interactive", "i", "switch"),
    Flag("env", "e", "list"),
    Flag("count", "c", "number", default=3),
)


def test_long_short_and_combined() -> None:
    parsed = parse(
        SOME,
        ["-it", "--name=x", "-eA=1", "-e", "B=2", "--count", "7", "img", "-z"],
        interspersed=False,
    )
    assert parsed["interactive"]
    assert parsed["tty"]
    assert parsed["name"] == "x"
    assert parsed["env"] == ["A=1", "B=2"]
    assert parsed["count"] == 7
    assert parsed.words == ["img", "-z"]


def test_switch_takes_a_value_only_after_equals() -> None:
    assert parse(SOME, ["--tty=false", "a"])["tty"] is False
    assert parse(SOME, ["-t", "false"]).words == ["false"]


def test_double_dash_ends_flags() -> None:
    assert parse(SOME, ["a", "--", "--tty"]).words == ["a", "--tty"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["--name"], "flag needs an argument: --name"),
        (["-n"], "flag needs an argument: 'n' in -n"),
        (["--count", "many"], 'invalid argument "many" for "-c, --count" flag'),
        (["--tty=maybe"], 'invalid argument "maybe" for "-t, --tty" flag'),
    ],
)
def test_usage_errors_in_dockers_words(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match="^" + message.replace("(", r"\(")):
        parse(SOME, argv)


def test_help() -> None:
    with pytest.raises(HelpWanted):
        parse(SOME, ["--help"])


@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_words_parse_or_are_refused(argv: list[str]) -> None:
    try:
        parse(FLAGS, argv, interspersed=False)
    except (UsageError, HelpWanted):
        pass


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512m", 512 << 20),
        ("1.5g", 3 << 29),
        ("1024", 1024),
        ("64KB", 65536),
        ("2GiB", 2 << 30),
        ("7b", 7),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert units.parse_size(text, "memory") == size


@pytest.mark.parametrize("text", ["", "m", "12x", "1..2g", "nan"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="invalid size"):
        units.parse_size(text, "memory")


def test_durations() -> None:
    assert units.parse_duration("1m30s", "since") == 90 * 10**9
    assert units.parse_duration("500ms", "since") == 5 * 10**8
    with pytest.raises(UsageError, match="invalid duration"):
        units.parse_duration("soon", "since")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"),
     (7200, "2 hours"), (3600, "About an hour"), (86400 * 3, "3 days")],
)  # fmt: skip
def test_ages(seconds: int, words: str) -> None:
    assert units.human_ago(seconds) == words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [("80/tcp", "", "")]),
        ("8080:80", [("80/tcp", "", "8080")]),
        ("127.0.0.1:8080:80/udp", [("80/udp", "127.0.0.1", "8080")]),
        ("127.0.0.1::80", [("80/tcp", "127.0.0.1", "")]),
        ("[::1]:81:80", [("80/tcp", "::1", "81")]),
        ("[::]::80", [("80/tcp", "::", "")]),
        ("::1:81:80", [("80/tcp", "::1", "81")]),
        ("0:80", [("80/tcp", "", "0")]),
        (":80", [("80/tcp", "", "")]),
        ("8000-8001:80-81", [("80/tcp", "", "8000"), ("81/tcp", "", "8001")]),
        ("8000-8010:80", [("80/tcp", "", "8000-8010")]),
    ],
)
def test_publish(text: str, expected: list[tuple[str, str, str]]) -> None:
    found = [(port, b["HostIp"], b["HostPort"]) for port, b in ports.parse_publish(text)]
    assert found == expected


@pytest.mark.parametrize(
    "text",
    [
        "a:80", "80:x", "0", "70000", "81-80", "8000-8002:80-81", "80/icmp", "", "80:", "8080:0",
        "[::1]:80", "[::1:80:80", "[::1]80:80", "[]:80:80", "[x]:80:80", "1.2.3:80:80",
        "[fe80::1%lo]:80:80", "80:80:80:80",
    ],
)  # fmt: skip
def test_publish_refused(text: str) -> None:
    with pytest.raises(UsageError):
        ports.parse_publish(text)


def test_publish_in_the_long_form() -> None:
    (port, binding), *_ = ports.parse_publish("target=80,published=8080,protocol=udp")
    assert (port, binding["HostPort"]) == ("80/udp", "8080")


def test_mount_flag() -> None:
    mount = mount_flag.parse("type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave")
    assert mount == {
        "Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True,
        "BindOptions": {"Propagation": "rslave"},
    }  # fmt: skip
    with pytest.raises(ValueError, match="unexpected key 'colour'"):
        mount_flag.parse("type=bind,src=/a,dst=/b,colour=red")


def test_create_body() -> None:
    argv = [
        "--rm",
        "-m",
        "64m",
        "--cpus",
        "1.5",
        "-v",
        "data:/data",
        "-v",
        "/anon",
        "-p",
        "1:2",
        "x",
        "sh",
        "-c",
        "y",
    ]
    parsed = parse(FLAGS, argv, interspersed=False)
    body = build(parsed, "x", parsed.words[1:])
    assert body["Cmd"] == ["sh", "-c", "y"]
    assert body["Volumes"] == {"/anon": {}}
    host = body["HostConfig"]
    assert host["Memory"] == 64 << 20
    assert host["NanoCpus"] == 1_500_000_000
    assert host["Binds"] == ["data:/data"]
    assert host["PortBindings"] == {"2/tcp": [{"HostIp": "", "HostPort": "1"}]}
    assert host["AutoRemove"] is True


def test_env_names_take_the_callers_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIVEN", "yes")
    monkeypatch.delenv("ABSENT", raising=False)
    parsed = parse(FLAGS, ["-e", "GIVEN", "-e", "ABSENT", "-e", "SET=1", "x"], interspersed=False)
    assert build(parsed, "x", [])["Env"] == ["GIVEN=yes", "ABSENT", "SET=1"]


def test_detach_keys_across_reads() -> None:
    detector = detach.Detector("")
    assert detector.feed(b"ab\x10") == (b"ab", False)
    assert detector.feed(b"c") == (b"\x10c", False)
    assert detector.feed(b"\x10") == (b"", False)
    assert detector.feed(b"\x11") == (b"", True)
    with pytest.raises(UsageError):
        detach.parse("ctrl-")


VALUES = st.sampled_from(
    (
        "", "a", "a=b", "a:b", "a:b:c", "0", "-1", "1.5", "1m", "/a", "/a:/b:ro", 'x="', "a,b",
        "type=bind,source=/a", "=", ":", "80", "80:81/udp", "1-3:4-6", "[::1]:1:2", "10s", " ",
        "c 1:3 rwm", "\udcff", "é", "999999999999999999999", "name=n,ip=1.2.3.4", "on-failure:x",
        "/dev/sda:1", "nofile=1:2", "seccomp=/none", "vendor.com/class=x", "1e9", "nan", "0x10",
        "٣",
    )
)  # fmt: skip
GIVEN = st.sampled_from([flag for flag in FLAGS if flag.kind != "switch"])


@given(st.lists(st.tuples(GIVEN, VALUES | st.text(max_size=6)), max_size=5))
def test_any_values_make_a_request_or_are_refused(given: list[tuple[Flag, str]]) -> None:
    argv = [f"--{flag.name}={value}" for flag, value in given]
    try:
        parsed = parse(FLAGS, [*argv, "image"], interspersed=False)
        build(parsed, "image", [])
    except UsageError as error:
        refused = str(error)
    else:
        refused = "nothing"
    assert refused


@pytest.mark.parametrize("command", sorted({row[0] for row in commands.COMMANDS.values()}), ids=str)
def test_tables_of_flags_are_consistent(command: str) -> None:
    module = __import__(f"ketch.cli.{command.partition(':')[0]}", fromlist=["HELP"])
    usage, flags = module.HELP[command.partition(":")[2]]
    names = [flag.name for flag in flags] + [other for flag in flags for other in flag.also]
    shorts = [flag.short for flag in flags if flag.short]
    assert isinstance(usage, str)
    assert len(names) == len(set(names))
    assert len(shorts) == len(set(shorts))
    assert all(flag.help for flag in flags)


def test_help_of_run_shows_every_flag_once_in_its_section() -> None:
    module = commands.module_of("run")
    page = help.of_command("run", module)
    shown = re.findall(r"^ {2}(?:-\w, | {4})--([\w-]+)", page, re.M)
    assert sorted(shown) == sorted(
        flag.name for flag in help.find("run", commands.module_of("run"))[1]
    )
    titles = re.findall(r"^(\w[\w ]+):$", page, re.M)
    assert titles[:2] == ["Aliases", "Examples"]
    assert {"Options", "Limits", "Network", "Health"} <= set(titles)
    listed = [name for _, names in help_sections.RUN for name in names]
    assert len(listed) == len(set(listed))


def test_completion_knows_every_list_that_flags_name() -> None:
    live = {"networks", "volumes", "volumes-or-paths", "containers", "images", "log-drivers",
            "runtimes", "contexts", "files", "directories"}  # fmt: skip
    known = live | complete_words.FIXED.keys() | complete_words.FILTERS.keys()
    for name in commands.COMMANDS:
        place, _, function = commands.COMMANDS[name][0].partition(":")
        module = __import__(f"ketch.cli.{place}", fromlist=["HELP"])
        for flag in module.HELP[function][1]:
            assert not isinstance(flag.values, str) or flag.values in known, flag.name
