"""Go templates: what docker 28 prints for the same text and value, and its errors."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.cli import create_body, inspect, listing, template
from ketch.cli.flags import Failure, UsageError
from ketch.cli.gotemplate.evaluate import execute
from ketch.cli.gotemplate.functions import FUNCTIONS
from ketch.cli.gotemplate.numbers import shortest
from ketch.cli.gotemplate.parser import parse
from ketch.cli.gotemplate.quoting import quoted, unquoted
from ketch.cli.gotemplate.values import Row

ROW = {"ID": "3736e41aa1d6", "Names": "ended", "Image": "busybox", "Labels": "a=b,x=y", "Size": ""}


def row(text: str) -> str:
    value = Row(ROW, "*formatter.ContainerContext", {"Label": lambda n: listing.label_of(ROW, n)})
    return template.compiled(text)(value)


INSPECTED = json.loads(
    """{"Id": "0da4", "Name": "/web", "Args": ["1000"],
        "State": {"Status": "running", "Running": true, "Pid": 42, "ExitCode": 0},
        "HostConfig": {"Links": null, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
                       "PidsLimit": null, "LogConfig": {"Type": "json-file", "Config": {}}},
        "Config": {"Labels": {"x": "y", "a": "b"}, "Env": ["PATH=/bin"], "Cmd": ["sleep", "1"]},
        "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},
                            "Networks": {"bridge": {"IPAddress": "10.1.2.3"}}}}"""
)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{{.ID}}\\t{{.Names}}", "3736e41aa1d6\tended"),
        ("{{.Names}}}", "ended}"),
        ("{{.Names | json | upper}}", '"ENDED"'),
        ('{{.Label "x"}}|{{.Label "none"}}', "y|"),
        ('{{printf "%d %s %q %v" "a" 1 .Names nil}}', '%!d(string=a) %!s(int=1) "ended" <nil>'),
        ('{{printf "%5d|%-5d|%05d|%x|%o|%c|%U" 42 42 42 255 8 65 65}}',
         "   42|42   |00042|ff|10|A|U+0041"),
        ('{{printf "%e|%.2f|%8.3f|%g" 1234.5678 3.14159 2.5 1e21}}',
         "1.234568e+03|3.14|   2.500|1e+21"),
        ('{{printf "%d %d" 1}} {{printf "%d" 1 2}} {{printf "%"}}',
         "1 %!d(MISSING) 1%!(EXTRA int=2) %!(NOVERB)"),
        ('{{printf "%[2]d %[1]d" 1 2}}', "2 1"),
        ('{{eq 1 2 1}} {{ne 1 2}} {{lt "a" "b"}} {{ge 1.5 1.5}}', "true true true true"),
        ("{{with $x := .Names}}{{$x}}{{end}}", "ended"),
        ('{{join (split .Image "b") "-"}}', "-usy-ox"),
        ("{{pad .Names 2 3}}|{{truncate .Image 3}}|{{title .Image}}", "  ended   |bus|Busybox"),
        ("{{slice .Image 1 3}} {{slice .Image 2}}", "us sybox"),
        ("{{len .Image}}", "7"),
        ('{{print 1 2 "a" "b" 3}}', "1 2ab3"),
        ("{{/* c */}}x{{- 1 -}} y", "x1y"),
        ("a {{- /* c */ -}} b", "ab"),
        ('{{html "<a>"}}{{urlquery "a b&c"}}{{js "a\'b<"}}', "&lt;a&gt;a+b%26ca\\'b\\u003C"),
        ("{{1.5}} {{1e3}} {{0x1F}} {{0b11}} {{017}} {{1_000}} {{-3}} {{.5}}",
         "1.5 1000 31 3 15 1000 -3 0.5"),
        ("{{'a'}} {{true}} {{`raw`}} {{\"\\u00e9\\x41\"}}", "97 true raw éA"),
        ('{{range $i, $e := split "a,b" ","}}{{$i}}{{$e}}{{else}}no{{end}}', "0a1b"),
        ('{{range split "a,b,c" ","}}{{if eq . "b"}}{{continue}}{{end}}{{.}}{{end}}', "ac"),
        ('{{range split "a,b,c" ","}}{{if eq . "b"}}{{break}}{{end}}{{.}}{{end}}', "a"),
        ('{{if ""}}a{{else if .Image}}b{{else}}c{{end}}', "b"),
        ('{{with ""}}a{{else with .Image}}{{.}}{{end}}', "busybox"),
        ('{{define "T"}}[{{.}}]{{end}}{{template "T" .ID}}', "[3736e41aa1d6]"),
        ('{{block "B" .Names}}<{{.}}>{{end}}', "<ended>"),
        ('{{and .Names .Image}} {{or "" .Image}} {{not 1}}', "busybox busybox false"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ('{{.Names | printf "%s-%s" "a"}}', "a-ended"),
        ("{{(.Names)}} {{len (print 1 2)}}", "ended 3"),
        ("{{.Names|}}", "ended"),
        ('{{json "<&>"}} {{json nil}} {{json (split "a,b" ",")}}', '"<&>" null ["a","b"]'),
    ],
)  # fmt: skip
def test_rows(text: str, printed: str) -> None:
    assert row(text) == printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{.Names", ":1: unclosed action"),
        ("{{}}", ":1: missing value for command"),
        ("{{foo}}", ':1: function "foo" not defined'),
        ("{{end}}", ":1: unexpected {{end}}"),
        ("{{if .Names}}x", ":1: unexpected EOF"),
        ("{{if}}x{{end}}", ":1: missing value for if"),
        ('{{"abc}}', ":1: unterminated quoted string"),
        ("{{$x}}", ':1: undefined variable "$x"'),
        ("{{break}}", ":1: {{break}} outside {{range}}"),
        ("{{(.Names}}", ":1: unclosed left paren"),
        ("{{.Names)}}", ":1: unexpected right paren"),
        ("{{.Names,}}", ':1: unexpected "," in operand'),
        ("{{#}}", ':1: unexpected "#" in command'),
        ("{{.", ':1: illegal number syntax: "."'),
        ("{{.ID!}}", ":1: bad character U+0021 '!'"),
        ("\n{{a b}}", ':2: function "a" not defined'),
        ("{{.Names | 1}}", ":1: non executable command in pipeline stage 2"),
        ("{{.Foo}}", ':1:2: executing "" at <.Foo>: can\'t evaluate field Foo in type '
         "*formatter.ContainerContext"),
        ("{{.Names.Foo}}", ':1:8: executing "" at <.Names.Foo>: can\'t evaluate field Foo in type '
         "string"),
        ("{{index .Names 99}}", ':1:2: executing "" at <index .Names 99>: error calling index: '
         "index out of range: 99"),
        ("{{.ID .Names}}", ':1:2: executing "" at <.ID>: wrong number of args for ID: want 0 got '
         "1"),
        ("{{1 2}}", ':1:2: executing "" at <1>: can\'t give argument to non-function 1'),
        ("{{nil}}", ':1:2: executing "" at <nil>: nil is not a command'),
        ("{{lt 1 2.0}}", ':1:2: executing "" at <lt 1 2.0>: error calling lt: incompatible types '
         "for comparison"),
        ('{{template "x"}}', ':1:11: executing "" at <{{template "x"}}>: template "x" not defined'),
        ("{{call .Names}}", ':1:2: executing "" at <call .Names>: error calling call: non-function '
         ".Names of type string"),
        ("{{upper 1}}", ':1:8: executing "" at <1>: expected string; found 1'),
        ("{{json 1 2}}", ':1:2: executing "" at <json>: wrong number of args for json: want 1 '
         "got 2"),
    ],
)  # fmt: skip
def test_errors_in_gos_words(text: str, message: str) -> None:
    with pytest.raises(Failure) as caught:
        row(text)
    assert str(caught.value) == f"template parsing error: template: {message}"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{{.Config.Labels}} {{.Config.Labels.x}} {{.Config.Labels.q}}",
         "map[a:b x:y] y <no value>"),
        ('[{{index .Config.Labels "q"}}]', "[]"),
        ("{{.NetworkSettings.Ports}}", "map[80/tcp:[{0.0.0.0 8080}]]"),
        ("{{range $p, $c := .NetworkSettings.Ports}}{{$p}}={{(index $c 0).HostPort}};{{end}}",
         "80/tcp=8080;"),
        ('{{(index .NetworkSettings.Networks "bridge").IPAddress}}', "10.1.2.3"),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "10.1.2.3"),
        ("{{.HostConfig.RestartPolicy}} {{.HostConfig.Links}}", "{no 0} []"),
        ('{{printf "%+v %T" .HostConfig.RestartPolicy .State.Pid}}',
         "{Name:no MaximumRetryCount:0} int"),
        ("{{.Config.Cmd}} {{json .Config.Cmd}}", '[sleep 1] ["sleep","1"]'),
        ("{{json .HostConfig.Links}} {{json .HostConfig.PidsLimit}}", "null null"),
        ("{{if .State.Health}}h{{else}}n{{end}} {{.State.Health}}", "n <nil>"),
        ("{{.ID}} {{.Id}} {{.HostConfig.LogConfig}}", "0da4 0da4 {json-file map[]}"),
        ("{{eq .State.ExitCode 0}} {{.State.Running | not}}", "true false"),
    ],
)  # fmt: skip
def test_inspected_objects(text: str, printed: str) -> None:
    assert template.expand(text, INSPECTED) == printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{.Foo}}", 'at <.Foo>: map has no entry for key "Foo"'),
        ("{{.State.Foo}}", ':1:8: executing "" at <.State.Foo>: map has no entry for key "Foo"'),
        ("{{.State.Health.Status}}", 'map has no entry for key "Health"'),
        ('{{(index .NetworkSettings.Networks "no").IPAddress}}', "nil data; no entry for key"),
    ],
)
def test_missing_fields(text: str, message: str) -> None:
    with pytest.raises(Failure) as caught:
        template.expand(text, INSPECTED)
    assert message in str(caught.value)


def test_tables_have_the_columns_names() -> None:
    rows = [{**ROW, "Names": "a"}, {**ROW, "Names": "longer-name"}]
    headers = {"ID": "CONTAINER ID", "Names": "NAMES", "Labels": "LABELS"}
    kind = listing.Kind("*x", label=listing.label_of)
    text = 'table {{upper .Names}}\\t{{.Label "com.x-y"}}\\t{{.ID}}'
    assert listing.formatted(text, rows, headers, kind) == (
        "NAMES         x y       CONTAINER ID\n"
        "A                       3736e41aa1d6\n"
        "LONGER-NAME             3736e41aa1d6\n"
    )


def test_json_lines_escape_as_go_does() -> None:
    line = listing.formatted("json", [{"B": "a->b", "A": "&"}], {})
    assert line == '{"A":"\\u0026","B":"a-\\u003eb"}\n'


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (1.5, "1.5"), (1e20, "1e+20"), (123456.0, "123456"), (1234567.0, "1.234567e+06"),
     (0.0001, "0.0001"), (0.00001, "1e-05"), (-0.5, "-0.5"), (float("inf"), "+Inf")],
)  # fmt: skip
def test_floats(value: float, text: str) -> None:
    assert shortest(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_read_back(value: float) -> None:
    assert float(shortest(value)) == value


@given(st.text())
def test_quoting_reads_back(text: str) -> None:
    if not any(0xD800 <= ord(char) < 0xE000 for char in text):
        assert unquoted(quoted(text)) == text


PIECES = st.sampled_from(
    [
        "{{", "}}", "{{-", "-}}", " ", ".", ".A", ".B.C", "$", "$x", ":=", "=", "|", "(", ")", ",",
        "if ", "else", "end", "range ", "with ", "define ", "template ", "block ", "break", "json ",
        "printf ", '"%v %d"', "1", "2.5", "'a'", "`r`", "nil", "true", "index ", "len ", "/*", "*/",
        "text", "\n", "\\", '"', "eq ", "and ", "é", "\x00", "call ", "slice ", "join ",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ABC"), inner),
    max_leaves=8,
)


@given(st.lists(PIECES, max_size=25).map("".join), VALUES)
def test_any_text_is_filled_or_refused(text: str, value: object) -> None:
    refused = ""
    try:
        template.expand(text, value)
    except Failure as error:
        refused = str(error)
    assert not refused or refused.startswith("template parsing error: template: :")


@given(st.text(max_size=40))
def test_any_characters_are_parsed_or_refused(text: str) -> None:
    try:
        template.compiled("{{" + text + "}}")
        template.compiled(text)
    except Failure:
        pass


@given(st.text(alphabet="%+-# 0123456789.*[]vTtdbcqxXUeEfgGsp!", max_size=12), VALUES)
def test_any_directive_prints_something(form: str, value: object) -> None:
    parsed = parse("{{printf .F .V}}", FUNCTIONS)
    execute(parsed, {"F": form, "V": value})


def test_no_template_takes_all_memory_or_time() -> None:
    with pytest.raises(Failure, match="too long"):
        template.expand('{{range 100000}}{{printf "%9999d" 1}}{{end}}', {})
    with pytest.raises(Failure, match="maximum template depth"):
        template.expand('{{define "T"}}{{template "T" .}}{{end}}{{template "T" .}}', {})
    with pytest.raises(Failure, match="nesting"):
        template.expand("{{if 1}}" * 5000 + "{{end}}" * 5000, {})
    with pytest.raises(Failure, match="nesting"):
        template.expand("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", {})


def test_inspect_of_nothing_prints_an_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    for found in ([], [{"Name": "a"}], [{"Name": "a"}, {"Name": "b"}]):
        inspect._print("{{.Name}}", found)
    assert capsys.readouterr().out == "\na\na\nb\n"


def test_an_empty_image_name_is_no_reference() -> None:
    nothing: object = None
    with pytest.raises(UsageError, match="invalid reference format"):
        create_body.build(nothing, "", [])  # type: ignore[arg-type]
