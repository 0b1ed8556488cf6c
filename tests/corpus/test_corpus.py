"""Every case of the corpus, built by one daemon; they run side by side."""

from __future__ import annotations

import concurrent.futures
import io
import json
import tarfile
from typing import Any
from urllib.parse import urlencode

import pytest

from corpus.cases import Case, all_cases
from e2e.ketchd_process import Ketchd
from e2e.unix_http import UnixConnection

pytestmark = pytest.mark.root
CASES = all_cases()
AT_ONCE = 6


class Outcome:
    """What came of a case; the image is looked at while its daemon still works for others."""

    def __init__(self, daemon: Ketchd, case: Case) -> None:
        query = {**case.parameters(), "progress": "events", "t": ""}
        status, body = request(daemon, "POST", f"/build?{urlencode(query)}", case.context())
        self.events: list[dict[str, Any]] = []
        self.image: dict[str, Any] = {}
        self.tree: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
        self.error = ""
        if status != 200:
            assert status in (400, 501), body
            self.error = json.loads(body)["message"]
            return
        self.events = [json.loads(line) for line in body.splitlines()]
        last = self.events[-1]
        if last["type"] == "failed":
            self.error = f"{last['error']}\n{last.get('excerpt', '')}"
            return
        self.image = json.loads(request(daemon, "GET", f"/images/{last['image']}/json")[1])
        if any(word in ("file", "mode", "owner", "link", "none") for word, _ in case.expected):
            self._read(request(daemon, "GET", f"/images/{last['image']}/get")[1])

    def _read(self, archive: bytes) -> None:
        """The tree that the layers make, but for opaque directories, which no case has."""
        with tarfile.open(fileobj=io.BytesIO(archive)) as outer:
            manifest = json.load(outer.extractfile("manifest.json"))  # type: ignore[arg-type]
            for name in manifest[0]["Layers"]:
                with tarfile.open(fileobj=outer.extractfile(name)) as layer:
                    for member in layer:
                        self._add(member, layer)

    def _add(self, member: tarfile.TarInfo, layer: tarfile.TarFile) -> None:
        path = "/" + member.name.removeprefix("./").strip("/")
        folder, _, name = path.rpartition("/")
        if name.startswith(".wh."):
            self.tree.pop(f"{folder}/{name[4:]}", None)
            return
        file = layer.extractfile(member) if member.isreg() else None
        self.tree[path] = (member, file.read() if file is not None else b"")

    def said(self) -> str:
        """Output and warnings."""
        return "".join(
            event.get("text", "") if event["type"] == "log" else event.get("sentence", "") + "\n"
            for event in self.events
            if event["type"] in ("log", "warned")
        )

    def rules(self) -> set[str]:
        """Of the checks that spoke up."""
        return {event.get("rule", "") for event in self.events if event["type"] == "warned"}


def request(daemon: Ketchd, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = UnixConnection(str(daemon.socket))
    connection.connect()
    connection.sock.settimeout(120)  # many builds share two cores
    connection.request(method, path, body=body, headers={"Content-Type": "application/x-tar"})
    response = connection.getresponse()
    try:
        return response.status, response.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def outcomes(ketchd: Ketchd) -> dict[str, Outcome]:
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda case: Outcome(ketchd, case), CASES)
        return {case.name: outcome for case, outcome in zip(CASES, found, strict=True)}


def test_the_corpus_is_large_and_its_names_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 150


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[case.name]
    words = {word for word, _ in case.expected}
    assert words - {"build"}, "a case that expects nothing can't fail"
    assert bool(outcome.error) == ("error" in words), outcome.error
    for word, rest in case.expected:
        check(outcome, word, rest)


def check(outcome: Outcome, word: str, rest: str) -> None:
    if word == "error":
        assert rest in outcome.error
    elif word == "line":
        assert f"Dockerfile:{rest}" in outcome.error
        assert f"{rest:>4} | >>>" in outcome.error
    elif word == "output":
        assert rest in outcome.said()
    elif word == "warns":
        assert rest in outcome.rules()
    elif word in ("file", "mode", "owner", "link"):
        in_tree(outcome, word, rest)
    elif word == "none":
        assert rest not in outcome.tree
    elif word != "build":
        in_image(outcome.image, word, rest)


def in_tree(outcome: Outcome, word: str, rest: str) -> None:
    path, value = rest.split(' "', 1) if '"' in rest else rest.rsplit(" ", 1)
    member, content = outcome.tree[path]
    if word == "file":
        assert content.decode() == json.loads('"' + value)
    elif word == "link":
        assert member.linkname == json.loads('"' + value)
    elif word == "mode":
        assert member.mode == int(value, 8)
    else:
        assert f"{member.uid}:{member.gid}" == value


def in_image(image: dict[str, Any], word: str, rest: str) -> None:
    value: Any = image
    for name in word.split("."):
        value = value.get(name)
    if rest.startswith("has "):
        assert json.loads(rest[4:]) in value
    else:
        assert value == json.loads(rest)
