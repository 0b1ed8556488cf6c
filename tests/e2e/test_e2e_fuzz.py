"""Requests made from Docker's own description of the API, with values out of joint."""

from __future__ import annotations

import http.client
import json
import random
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from api import openapi
from e2e.conftest import load_busybox
from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root

REQUESTS = 1200
ALLOWED = {501, 503}  # what ketch says it does not do; that there is no swarm
STREAMS = ("/events", "/attach", "/stats", "/logs", "/wait", "/session", "/_ping")
STRINGS = (
    "", "x", "busybox", "a/b", "../..", "%00", "é" * 50, "x" * 3000, "-1", "1e309", "{}", "null",
    '{"label":["a"]}', '{"dangling":["maybe"]}', "sha256:" + "0" * 64, "true", "linux/amd64",
)  # fmt: skip
NUMBERS = (0, 1, -1, 1 << 31, 1 << 63, -(1 << 64), 5)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self._path)


def value(schema: Any, dice: random.Random, depth: int = 0) -> Any:
    """Something that has the schema's type, or (one time in ten) has not."""
    if dice.random() < 0.1:
        return dice.choice([None, "", 7, [], {}, -1, "text", True, {"a": {"b": []}}, 1.5])
    if depth > 4 or not isinstance(schema, dict):
        return None
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return value(openapi.document()["definitions"][name], dice, depth)
    if "allOf" in schema:
        found: dict[str, Any] = {}
        for part in schema["allOf"]:
            one = value(part, dice, depth)
            found.update(one if isinstance(one, dict) else {})
        return found
    kind = schema.get("type", "object")
    return _typed(kind[0] if isinstance(kind, list) else kind, schema, dice, depth)


def _typed(kind: str, schema: dict[str, Any], dice: random.Random, depth: int) -> Any:
    if kind == "string":
        return dice.choice(schema.get("enum") or STRINGS)
    if kind in ("integer", "number"):
        return dice.choice(NUMBERS)
    if kind == "boolean":
        return dice.random() < 0.5
    if kind == "array":
        return [value(schema.get("items"), dice, depth + 1) for _ in range(dice.randrange(3))]
    properties = schema.get("properties", {})
    return {
        name: value(part, dice, depth + 1)
        for name, part in properties.items()
        if dice.random() < 4 / (4 + len(properties))
    }


def requests(dice: random.Random) -> Iterator[tuple[str, str, bytes | None]]:
    operations = [
        (method.upper(), path, operation)
        for path, item in openapi.document()["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict) and not path.endswith(STREAMS)
    ]
    while True:
        method, path, operation = dice.choice(operations)
        query: dict[str, str] = {}
        body = None
        for parameter in operation.get("parameters", []):
            place, name = parameter.get("in"), parameter.get("name")
            if place == "path":
                path = path.replace(f"{{{name}}}", quote(dice.choice(STRINGS) or "y", safe="/:"))
            elif place == "query" and dice.random() < 0.4:
                query[name] = str(dice.choice((*STRINGS, *NUMBERS)))
            elif place == "body":
                body = json.dumps(value(parameter.get("schema"), dice)).encode()
        text = urlencode(query)
        yield method, f"/v1.51{path}{'?' + text if text else ''}", body


def test_no_server_error(ketchd: Ketchd) -> None:
    seed = 20_261_125
    dice = random.Random(seed)
    made = requests(dice)
    bad = []
    for _ in range(REQUESTS):
        method, path, body = next(made)
        connection = UnixConnection(str(ketchd.socket))
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read(4096)
        finally:
            connection.close()
        if answer.status >= 500 and answer.status not in ALLOWED:
            bad.append((answer.status, method, path[:200], (body or b"")[:300], text[:300]))
    left = ketchd.out("ps", "-aq").split()
    if left:
        ketchd.docker("rm", "-fv", *left)
    load_busybox(ketchd)
    assert not bad, f"{len(bad)} of {REQUESTS}, first ones: {bad[:5]}"
