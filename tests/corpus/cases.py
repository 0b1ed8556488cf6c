"""Cases of the corpus: see README.md."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MARK = "#### "
FOLDER = Path(__file__).parent


@dataclass
class Case:
    """One Dockerfile with what it needs and what is expected of it."""

    name: str
    flags: set[str] = field(default_factory=set)
    dockerfile: str = ""
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    expected: list[tuple[str, str]] = field(default_factory=list)

    def parameters(self) -> dict[str, str]:
        """Of POST /build."""
        found: dict[str, Any] = {}
        for word, rest in self.expected:
            if word == "build":
                found |= json.loads(rest)
        return {k: v if isinstance(v, str) else json.dumps(v) for k, v in found.items()}

    def context(self) -> bytes:
        """The tar archive."""
        text = self.dockerfile
        if "crlf" in self.flags:
            text = text.replace("\n", "\r\n")
        data = (b"\xef\xbb\xbf" if "bom" in self.flags else b"") + text.encode()
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, content in {"Dockerfile": data, **self._contents()}.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(content), 0o644
                tar.addfile(info, io.BytesIO(content))
            for name, target in self.links.items():
                info = tarfile.TarInfo(name)
                info.type, info.linkname = tarfile.SYMTYPE, target
                tar.addfile(info)
        return out.getvalue()

    def _contents(self) -> dict[str, bytes]:
        return {name: text.encode() for name, text in self.files.items()}


def all_cases() -> list[Case]:
    """Of all files, in their order."""
    return [case for path in sorted(FOLDER.glob("*.corpus")) for case in read(path)]


def read(path: Path) -> Iterator[Case]:
    """The cases of one file."""
    case: Case | None = None
    part = ""
    for line in path.read_text().splitlines(keepends=True):
        if line.startswith(MARK):
            head = line[len(MARK) :].strip()
            if head.startswith("> ") and case is not None:
                part, arrow, target = head[2:].partition(" -> ")
                if arrow:
                    case.links[part] = target
            elif head == "=":
                part = "="
            else:
                if case is not None:
                    yield case
                words = head.split(" [")
                part = ""
                case = Case(f"{path.stem}: {words[0]}", {word.rstrip("]") for word in words[1:]})
            continue
        assert case is not None
        _take(case, part, line)
    if case is not None:
        yield case


def _take(case: Case, part: str, line: str) -> None:
    if part == "":
        case.dockerfile += line
    elif part == "=":
        word, _, rest = line.rstrip("\n").partition(" ")
        case.expected.append((word, rest))
    else:
        case.files[part] = case.files.get(part, "") + line
