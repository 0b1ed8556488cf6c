"""What ``ketch build`` sends: nothing that ``.dockerignore`` excludes (scorecard A12)."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ketch.cli import build_context, context, context_demands
from ketch.cli.build_flags import FLAGS
from ketch.cli.flags import Failure, Parsed, parse
from ketch.errors import InvalidParameter

TREE = (
    *("a.txt", "b.log", "README.md", ".git/config", ".env", "src/main.c", "src/main.o"),
    *("src/deep/x.o", "src/deep/y.c", "node_modules/m/index.js", "keep/secret/key", "keep/ok"),
    *("sp ace", "ünïcode/ß", "#hash", "[br]acket", "x!"),
)
ALWAYS = {"Dockerfile", ".dockerignore"}
CASES = [  # ignore file, what it excludes
    (b"", ()),
    (b"*.log", ("b.log",)),
    (b"/b.log", ("b.log",)),
    (b"./b.log", ("b.log",)),
    (b"src/", ("src/main.c", "src/main.o", "src/deep/x.o", "src/deep/y.c")),
    (b"src", ("src/main.c", "src/main.o", "src/deep/x.o", "src/deep/y.c")),
    (b"*.o", ()),
    (b"*/*.o", ("src/main.o",)),
    (b"**/*.o", ("src/main.o", "src/deep/x.o")),
    (b"**/deep", ("src/deep/x.o", "src/deep/y.c")),
    (b"src/**", ("src/main.c", "src/main.o", "src/deep/x.o", "src/deep/y.c")),
    (b"**\n!a.txt", tuple(name for name in TREE if name != "a.txt")),
    (b"*\n!src", tuple(name for name in TREE if not name.startswith("src"))),
    (b"*\n!src\nsrc/deep", tuple(n for n in TREE if n not in ("src/main.c", "src/main.o"))),
    (b"src\n!src/deep/y.c", ("src/main.c", "src/main.o", "src/deep/x.o")),
    (b"!b.log\n*.log", ("b.log",)),
    (b"*.log\n!b.log", ()),
    (b"*.log\n! b.log", ()),
    (b"keep/secret\n!keep", ()),
    (b"keep\n!keep/ok", ("keep/secret/key",)),
    (b"../keep", ()),
    (b"x/../keep", ("keep/secret/key", "keep/ok")),
    (b"../../etc/passwd\n*.log", ("b.log",)),
    (b"# b.log\n#b.log", ()),
    (b"\\#hash", ("#hash",)),
    (b"\xef\xbb\xbf*.log\n", ("b.log",)),
    (b"*.log\r\na.txt\r\n", ("b.log", "a.txt")),
    ("ünïcode\n".encode(), ("ünïcode/ß",)),
    ("ün?code/*\n".encode(), ("ünïcode/ß",)),
    (b"sp ace", ("sp ace",)),
    (b"  sp ace  ", ("sp ace",)),
    (b"[a-b]*", ("a.txt", "b.log")),
    (b"[^a-zA-Z.]*", ("#hash", "[br]acket", "ünïcode/ß")),
    (b"\\[br\\]acket", ("[br]acket",)),
    (b".*", (".git/config", ".env")),
    (b".git\n.env", (".git/config", ".env")),
    (b"**/key", ("keep/secret/key",)),
    (b"node_modules\n**/*.md", ("node_modules/m/index.js", "README.md")),
    (b"Dockerfile\n.dockerignore", ()),
    (b"x\\!", ("x!",)),
    (b"?.txt\n\n\n   \n", ("a.txt",)),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    for name in (*TREE, "Dockerfile"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    return folder


def parsed(*words: str) -> Parsed:
    return parse(FLAGS, list(words))


def sent(folder: Path) -> tuple[set[str], bytes]:
    """Files by name, and all bytes."""
    data = b"".join(context.stream(context.parts(str(folder), "Dockerfile")))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name for member in tar if not member.isdir()}, data


@pytest.mark.parametrize(("rules", "excluded"), CASES)
def test_excluded_bytes_are_never_sent(tree: Path, rules: bytes, excluded: tuple[str, ...]) -> None:
    (tree / ".dockerignore").write_bytes(rules)
    names, data = sent(tree)
    assert names == ({*TREE} - {*excluded}) | ALWAYS
    for name in excluded:
        assert f"content of {name}".encode() not in data


def test_a_linked_ignore_file_counts(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("*.log\n")
    (tree / ".dockerignore").symlink_to("../rules")
    assert "b.log" not in sent(tree)[0]


def test_links_are_sent_as_links(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("outside")
    (tree / "link").symlink_to("../outside")
    (tree / "folder").symlink_to("src")
    (tree / ".dockerignore").write_text("src\n")
    names, data = sent(tree)
    assert {"link", "folder"} <= names
    assert b"outside" not in data.replace(b"../outside", b"")
    assert b"content of src" not in data


def test_the_dockerfiles_own_ignore_file_goes_first(tree: Path) -> None:
    (tree / ".dockerignore").write_text("*.log\n")
    (tree / "Dockerfile.dockerignore").write_text("a.txt\n")
    names, _ = sent(tree)
    assert "b.log" in names
    assert "a.txt" not in names


def test_the_ignore_file_beside_a_dockerfile_from_elsewhere_goes_first(
    tree: Path, tmp_path: Path
) -> None:
    (tree / ".dockerignore").write_text("*.log\n")
    (tmp_path / "D").write_text("FROM elsewhere\n")
    (tmp_path / "D.dockerignore").write_text("a.txt\n")
    for whole in (True, False):
        asked = parsed(str(tree), "-f", str(tmp_path / "D"))
        stream, name = build_context.context_of(asked, whole=whole)
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
            names = set(tar.getnames())
            texts = [tar.extractfile(f"{name}{end}").read() for end in ("", ".dockerignore")]
        assert texts == [b"FROM elsewhere\n", b"a.txt\n"]
        assert ("b.log" in names, "a.txt" in names) == (whole, False)


def test_a_dockerfile_in_small_letters(tree: Path) -> None:
    (tree / "Dockerfile").rename(tree / "dockerfile")
    assert build_context.context_of(parsed(str(tree)))[1] == "dockerfile"


@pytest.mark.parametrize("rules", [b"[", b"a\\", b"!", b"[]a]"])
def test_bad_patterns_are_refused(tree: Path, rules: bytes) -> None:
    (tree / ".dockerignore").write_bytes(b"ok\n" + rules)
    with pytest.raises(InvalidParameter, match="line 2"):
        sent(tree)


def test_a_directory_that_is_excluded_is_sent_with_what_is_not(tree: Path) -> None:
    (tree / ".dockerignore").write_text("src\n!src/deep/y.c\n")
    (tree / "src").chmod(0o700)
    data = b"".join(context.stream(context.parts(str(tree), "Dockerfile")))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getmember("src").mode == 0o700
        names = tar.getnames()
    assert names.index("src") < names.index("src/deep") < names.index("src/deep/y.c")


@pytest.mark.parametrize(
    ("patterns", "picked"),
    [
        (["a.txt"], ["a.txt"]),
        (["none", "a.txt/x", "src/*.c"], ["src", "src/main.c"]),
        (["src/deep"], ["src", "src/deep", "src/deep/y.c"]),
        (["[^a-zA-Z.]*"], ["#hash", "[br]acket", "ünïcode", "ünïcode/ß"]),
        (["\\[br\\]acket", "?.txt"], ["[br]acket", "a.txt"]),
        (["way/main.c"], ["src", "src/main.c", "way"]),
        (["w*/main.c"], ["src", "src/main.c", "way"]),
        (["circle/x", "out"], ["circle", "out"]),
        (["twice"], ["keep", "keep/up", "src", "src/main.c", "twice", "way"]),
        (["**/main.c"], None),
        (["."], None),
    ],
)
def test_what_steps_name_and_where_links_lead(
    tree: Path, patterns: list[str], picked: list[str] | None
) -> None:
    (tree / ".dockerignore").write_text("**/*.o\nDockerfile\nb.log\n.env\n")
    links = {"way": "./src", "circle": "circle", "out": "/../../etc", "twice": "keep/up"}
    for name, target in {**links, "keep/up": "../way/main.c", "keep/no": "../b.log"}.items():
        (tree / name).symlink_to(target)
    data = b"".join(context.some(str(tree), patterns, "Dockerfile"))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = sorted(tar.getnames())
    if picked is None:
        assert {"a.txt", "src/deep/y.c", "node_modules/m/index.js"} < set(names)
        assert not {"Dockerfile", "b.log", "src/main.o"} & set(names)
    else:
        assert names == sorted(picked)


class Engine:
    """Asks for all of a context, and reads what it is sent."""

    def __init__(self) -> None:
        self.read = threading.Event()

    def json_lines(self, *_: object) -> Iterator[dict[str, object]]:
        yield {"Number": 0, "Name": "", "Paths": ["."]}
        self.read.set()

    def stream(
        self, method: str, path: str, query: object, body: Iterator[bytes], _: object
    ) -> Any:
        b"".join(body)


def test_what_cannot_be_read_is_told_on_this_side(tmp_path: Path) -> None:
    engine = Engine()
    gone = build_context.Directories(str(tmp_path / "gone"), "Dockerfile", {})
    bringing = context_demands.Bringing(engine, "token", gone)  # type: ignore[arg-type]
    assert engine.read.wait(10)
    with pytest.raises(Failure, match=r"failed to read the build context: .*No such file"):
        bringing.check()
