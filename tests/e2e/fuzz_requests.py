"""Requests made from Docker's own description of the API, with values out of joint.

Everything comes from one seed, so a finding can be played again: ``python -m e2e.fuzz_run SEED``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from api import openapi
from e2e.contract_world import tar_of

STRINGS = (
    "", "x", "busybox", "a/b", "../..", "%00", "\0", "é" * 50, "x" * 3000, "-1", "1e309", "{}",
    "null", "0", "1", "true", "False", "linux/amd64", "sha256:" + "0" * 64, "[]", '"', "\n",
    '{"label":["a"]}', '{"dangling":["maybe"]}', '{"label":{"a=b":true}}', '{"until":["1h"]}',
    '{"until":["-9e99"]}', '{"reference":["[["]}', '{"name":["(("]}', '{"status":["running"]}',
    '{"id":["x"],"name":["\\u0000"]}', '{"publish":["99999"]}', '{"health":["x"]}', "SIGTERM",
    '{"exited":["9223372036854775808"]}', "10.199.0.0/33", "fe80::/10", "80/tcp", "80-79/udp",
    "1-70000/sctp", "::1", "root:root", "65536:65536", "no", "on-failure", "host", "none", "bridge",
    "container:x", "private", "2026-01-01T00:00:00Z", "9223372036854775807.999999999", "ctrl-a,q",
    "\ud800", "🐋", "%s%n", "$(id)", "a" * 64, "A", ".", "..", "CAP_ALL", "json-file", "local",
)  # fmt: skip
NUMBERS = (
    0,
    1,
    -1,
    5,
    65535,
    65536,
    1 << 20,
    1 << 31,
    (1 << 63) - 1,
    1 << 63,
    -(1 << 64),
    1.5,
    1e308,
)
WRONG = (None, "", 7, [], {}, -1, "text", True, {"a": {"b": []}}, 1.5, [None], [[]], {"": None})
VERSIONS = ("1.24", "1.40", "1.41", "1.42", "1.43", "1.44", "1.47", "1.48", "1.49", "1.50", "1.51")
ODD_VERSIONS = ("1.39", "1.24", "1.23", "9.9", "1", "1.51.1", "01.51", "1.9999999")
TYPES = ("application/json", "application/x-tar", "text/plain", "", "application/json; charset=x")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
NOWHERE = "127.0.0.1:9"
"""A registry that refuses: the requests of the tests stay on this machine."""

MADE = ("fz-made-0", "fz-made-1", "fz-made-2")
"""Names that created containers get, so that later requests hit them."""

FOREIGN = ("swarm", "nodes", "services", "tasks", "secrets", "configs", "plugins")
"""What is refused as a whole needs few requests."""

TEMPLATES: dict[str, dict[str, Any]] = {
    "POST /containers/create": {"Image": "busybox", "Cmd": ["sleep", "600"]},
    "POST /containers/{id}/exec": {"Cmd": ["echo", "x"], "AttachStdout": True},
    "POST /containers/{id}/update": {},
    "POST /exec/{id}/start": {},
    "POST /commit": {},
    "POST /networks/create": {"Name": "fz-made-net", "Labels": {}},
    "POST /volumes/create": {"Name": "fz-made-vol"},
}
"""Bodies that work, to be varied."""

ARCHIVES = {
    "/build": (
        tar_of(Dockerfile=b"FROM busybox\nRUN true\n"),
        tar_of(Dockerfile=b"FROM fz-image:1\nCOPY . /x\nUSER 5\nVOLUME /v\n", a=b"1"),
        tar_of(Dockerfile=b"FROM scratch\nCOPY --from=busybox /bin /\nONBUILD RUN x\n"),
        tar_of(Dockerfile=b"ARG \nFROM"),
        tar_of(x=b""),
        b"\0" * 700,
        b"",
    ),
    "/images/load": (tar_of(), tar_of(manifest__json=b"[{}]"), tar_of(manifest__json=b"{"), b"x"),
    "/containers/{id}/archive": (tar_of(a=b"1"), tar_of(), b"x" * 600, b""),
}
"""Bodies of routes that take no JSON."""

_PLAIN = {
    "boolean": ("0", "1", "true", "false"),
    "integer": ("0", "1", "2", "10"),
}

STREAMING = ("/events", "/attach", "/attach/ws", "/stats", "/logs", "/wait", "/session", "/grpc")
MAY_BLOCK = (*STREAMING, "/stop", "/restart", "/start", "/exec/{id}/resize")
"""What may rightly take as long as a client or a container wants."""


class Request(NamedTuple):
    """One request; ``may_block``: no answer within the limit is no finding."""

    method: str
    target: str
    body: bytes | None
    headers: Mapping[str, str]
    may_block: bool


class Generator:
    """Makes requests. ``names`` holds what really exists, by the first word of a path."""

    def __init__(self, seed: int, names: Mapping[str, tuple[str, ...]]) -> None:
        self._dice = random.Random(seed)
        self._wrong = 0.0
        self._names = names
        self._operations = [
            (method.upper(), path, operation)
            for path, item in openapi.described()["paths"].items()
            for method, operation in item.items()
            if isinstance(operation, dict)
        ]
        self._weights = [
            0.1 if path.split("/")[1] in FOREIGN else 1.0 for _, path, _ in self._operations
        ]

    def request(self) -> Request:
        dice = self._dice
        self._wrong = dice.choice((0, 0.02, 0.1))
        method, pattern, operation = dice.choices(self._operations, self._weights)[0]
        path, query, body = pattern, {}, None
        headers = {"Content-Type": "application/json"}
        parameters = operation.get("parameters", [])
        for parameter in parameters:
            place, name = parameter.get("in"), parameter.get("name")
            if place == "path":
                path = path.replace(f"{{{name}}}", _quoted(self._name(pattern)))
            elif place == "query" and dice.random() < self._share(parameter, parameters):
                query[name] = self._parameter(pattern, name, parameter)
            elif place == "header" and name != "Content-type" and dice.random() < 0.4:
                headers[name] = self._header()
            elif place == "body":
                body = self._body(f"{method} {pattern}", parameter.get("schema"))
        if pattern in ARCHIVES:
            body = dice.choice(ARCHIVES[pattern])
            headers["Content-Type"] = "application/x-tar"
        if pattern.endswith("/prune") and dice.random() < 0.95:
            query["filters"] = '{"label":["none-such"]}'  # else nothing would be left to hit
        if pattern == "/images/search":
            query["term"] = dice.choice((NOWHERE, "127.0.0.1:99999", "[::", "a..b")) + "/x"
        if pattern == "/images/create":
            query["fromImage"] = f"{NOWHERE}/{query.get('fromImage', '')}"[:300]
        if dice.random() < 0.05:
            headers["Content-Type"] = dice.choice(TYPES)
        if dice.random() < 0.03:
            method = dice.choice(METHODS)
        text = urlencode(query, errors="surrogatepass")
        target = f"{self._prefix()}{path}{'?' + text if text else ''}"
        return Request(method, target, body, headers, pattern.endswith(MAY_BLOCK))

    def _share(self, parameter: dict[str, Any], among: list[Any]) -> float:
        """How often a parameter of the query is given."""
        return 0.8 if parameter.get("required") else min(0.3, 2 / len(among))

    def _prefix(self) -> str:
        roll = self._dice.random()
        if roll < 0.6:
            return "/v1.51"
        choice = self._dice.choice
        return f"/v{choice(VERSIONS)}" if roll < 0.97 else f"/v{choice(ODD_VERSIONS)}"

    def _name(self, pattern: str) -> str:
        known = self._names.get(pattern.split("/")[1], ())
        if known and self._dice.random() < 0.7:
            return self._dice.choice(known)
        return self._dice.choice(STRINGS) or "y"

    def _any_name(self) -> str:
        return self._dice.choice(
            [name for names in self._names.values() for name in names] or ["y"]
        )

    def _parameter(self, pattern: str, name: str, parameter: dict[str, Any]) -> str:
        if name in ("fromSrc", "remote"):
            return "-" if name == "fromSrc" else ""
        if pattern == "/containers/create" and name == "name":
            return self._dice.choice(MADE)
        if name == "container" and self._dice.random() < 0.7:
            return self._any_name()
        if self._dice.random() < 0.6 and (plain := _PLAIN.get(parameter.get("type", ""))):
            return self._dice.choice(plain)
        return str(self._dice.choice((*STRINGS, *NUMBERS)))

    def _header(self) -> str:
        text = self._dice.choice(STRINGS)
        return "".join(c for c in text if c.isascii() and c.isprintable()) or "e30="

    def _body(self, operation: str, schema: Any) -> bytes:
        dice = self._dice
        template = TEMPLATES.get(operation)
        if template is not None and dice.random() < 0.8:
            value = self._variation(template, schema)
        else:
            value = self.value(schema)
        text = json.dumps(value).encode()
        if dice.random() < 0.95:
            return text
        cut = dice.randrange(len(text) + 1)
        return dice.choice(
            (text[:cut], text + text, text[:cut] + b"\xff" + text[cut:], b"", b"[" * 9999)
        )

    def _variation(self, template: dict[str, Any], schema: Any) -> dict[str, Any]:
        """A body that works, and a few members more."""
        properties = self._properties(schema)
        found = dict(template)
        for name in self._dice.sample(sorted(properties), min(len(properties), 2)):
            if name not in template:
                found[name] = self._member(name, properties[name], 3)
        if "HostConfig" in properties:
            host = self._properties(properties["HostConfig"])
            names = self._dice.sample(sorted(host), self._dice.randrange(4))
            found["HostConfig"] = {name: self._member(name, host[name], 3) for name in names}
        return found

    def _properties(self, schema: Any) -> dict[str, Any]:
        while "$ref" in schema:
            schema = openapi.described()["definitions"][schema["$ref"].rpartition("/")[2]]
        found = dict(schema.get("properties", {}))
        for part in schema.get("allOf", ()):
            found.update(self._properties(part))
        return found

    def value(self, schema: Any, depth: int = 0) -> Any:
        """Something that has the schema's type, or (as often as this request may) has not."""
        dice = self._dice
        if dice.random() < self._wrong:
            return dice.choice(WRONG)
        if depth > 8 or not isinstance(schema, dict):
            return None
        if "example" in schema and dice.random() < 0.5:
            return schema["example"]
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return self.value(openapi.described()["definitions"][name], depth)
        if "allOf" in schema:
            found: dict[str, Any] = {}
            for part in schema["allOf"]:
                one = self.value(part, depth)
                found.update(one if isinstance(one, dict) else {})
            return found
        return self._typed(schema.get("type", "object"), schema, depth)

    def _typed(self, kind: str, schema: dict[str, Any], depth: int) -> Any:
        dice = self._dice
        if kind == "string":
            words = [word for word in schema.get("enum") or () if word is not None]
            return dice.choice(words if words and dice.random() < 0.8 else STRINGS)
        if kind in ("integer", "number"):
            return dice.choice(NUMBERS)
        if kind == "boolean":
            return dice.random() < 0.5
        if kind == "array":
            return [self.value(schema.get("items"), depth + 1) for _ in range(dice.randrange(3))]
        return self._object(schema, depth)

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        dice = self._dice
        properties = schema.get("properties", {})
        found = {
            name: self._member(name, part, depth)
            for name, part in properties.items()
            if dice.random() < 4 / (4 + len(properties))
        }
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict) or not properties:
            for _ in range(dice.randrange(3)):
                found[dice.choice(STRINGS)] = self.value(extra or {"type": "string"}, depth + 1)
        return found

    def _member(self, name: str, schema: Any, depth: int) -> Any:
        if name == "Image" and self._dice.random() < 0.9:
            return "busybox"
        if name == "serveraddress":
            return NOWHERE
        if name == "Container" and self._dice.random() < 0.8:
            return self._any_name()
        return self.value(schema, depth + 1)


def _quoted(name: str) -> str:
    return quote(name, safe="/:@", errors="surrogatepass")
