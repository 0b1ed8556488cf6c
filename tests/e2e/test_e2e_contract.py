"""Every operation of Docker's API description, called on a real engine with real objects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from api import openapi
from e2e.contract_calls import CALLS, NOT_CALLED, NOT_SUPPORTED
from e2e.contract_world import Answer, World
from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root

README = Path(__file__).parents[2] / "README.md"

OTHER_KINDS = {
    "GET /events": "application/json",  # application/jsonl came with API 1.53
    "GET /containers/{id}/export": "application/x-tar",  # what dockerd says
}
"""Content types in which dockerd itself differs from its description."""

UNTIL_1_51 = {
    "GET /containers/{id}/json": r"\.NetworkSettings\.\w+",  # the flat ones went with 1.52
    "GET /images/{name}/json": r"\.(Parent|DockerVersion)",
    "GET /system/df": r"\.(LayersSize|Images|Containers|Volumes|BuildCache)",
    "GET /networks": r"\[\]\.Containers",  # of inspect only, says the description
    "GET /networks/{id}": r"\.Containers",  # a part of NetworkInspect by reference
    "GET /images/search": ".*",
}
"""Members that the description of API 1.56 no longer has, and the versions served here do."""


@pytest.fixture(scope="module")
def world(ketchd: Ketchd) -> Iterator[World]:
    made = World(ketchd)
    yield made
    made.clear()


def operations() -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, item in openapi.document()["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict) and "responses" in operation
    }


def test_every_operation_has_a_call() -> None:
    assert set(operations()) == set(CALLS) | set(NOT_CALLED)


def test_readme_lists_what_is_not_supported() -> None:
    section = README.read_text().partition("answered with 501")[2].partition("\n\n")[0]
    listed = re.findall(r"`((?:GET|HEAD|POST|PUT|DELETE) /\S+)`", section)
    assert sorted(set(listed) - NOT_DESCRIBED) == sorted(NOT_SUPPORTED)


NOT_DESCRIBED = {
    "GET /containers/{id}/checkpoints",
    "POST /containers/{id}/checkpoints",
    "DELETE /containers/{id}/checkpoints/{checkpoint}",
}
"""Operations that dockerd has and its description has not."""


@pytest.mark.parametrize("operation", sorted(NOT_DESCRIBED))
def test_not_described(world: World, operation: str) -> None:
    method, _, path = operation.partition(" ")
    answer = world.ask(method, re.sub(r"\{\w+\}", "x", path))
    assert answer.status == 501
    assert "not supported" in answer.body["message"]


@pytest.mark.parametrize("operation", CALLS)
def test_answer(world: World, operation: str) -> None:
    call = CALLS[operation]
    method = operation.partition(" ")[0]
    answer = world.ask(method, world(call.path), world.fill(call.body), dict(call.headers))
    assert answer.status == call.status, answer
    described = operations()[operation]
    if answer.status < 400:
        assert answer.status in described["responses"], "a status that the description lacks"
        check_kind(operation, answer, described.get("produces"))
    schema = answer_schema(described, answer.status)
    for document in documents(answer, schema):
        check_shape(operation, document, schema)


ELSEWHERE = ("POST /images/{name}/push", "GET /images/{name}/get")
"""Where an error is part of the stream."""


@pytest.mark.parametrize("operation", [name for name in CALLS if "{" in name])
def test_unknown_object(world: World, operation: str) -> None:
    """404 with an error's shape, whatever else the request holds."""
    call = CALLS[operation]
    if call.status in (501, 503) or operation in ELSEWHERE:
        pytest.skip("not a matter of this object")
    method, _, pattern = operation.partition(" ")
    query = call.path.partition("?")[2]
    path = re.sub(r"\{\w+\}", "no-such-thing", pattern)
    answer = world.ask(method, f"{path}?{world(query)}", world.fill(call.body), dict(call.headers))
    assert answer.status == 404, answer
    if method != "HEAD" and "attach" not in operation:  # whose errors are text, as dockerd's
        check_shape(operation, answer.body, answer_schema({}, 404))


def check_kind(operation: str, answer: Answer, produced: list[str] | None) -> None:
    """The content type is one of those that the description names."""
    kind = answer.kind.partition(";")[0]
    if operation in OTHER_KINDS:
        assert kind == OTHER_KINDS[operation]
    elif produced and kind:
        assert kind in produced


def answer_schema(described: dict[str, Any], status: int) -> dict[str, Any] | None:
    """The schema of an answer's body; every error has the same."""
    if status >= 400:
        return {"$ref": "#/definitions/ErrorResponse"}
    found: dict[str, Any] = described["responses"][status]
    return found.get("schema")


def documents(answer: Answer, schema: dict[str, Any] | None) -> list[Any]:
    """What to validate: the body, or each line of a stream of JSON."""
    if schema is None or not answer.body or isinstance(answer.body, bytes):
        return []
    is_list = "array" in (resolved(schema).get("type") or ())
    return answer.body if isinstance(answer.body, list) and not is_list else [answer.body]


def check_shape(operation: str, document: Any, schema: dict[str, Any] | None) -> None:
    """Valid, and without a member that the description does not know."""
    assert schema is not None
    whole = {**schema, "definitions": openapi.document()["definitions"]}
    jsonschema.Draft4Validator(whole).validate(document)
    older = re.compile(UNTIL_1_51.get(operation, "(?!)"))
    extra = {where for where in unknown(document, schema) if not older.fullmatch(where)}
    assert not extra


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Without references, and the parts of ``allOf`` as one."""
    while "$ref" in schema:
        schema = openapi.document()["definitions"][schema["$ref"].rpartition("/")[2]]
    if "allOf" not in schema:
        return schema
    merged: dict[str, Any] = {}
    for part in schema["allOf"]:
        merged.update(resolved(part).get("properties", {}))
    return {"properties": merged}


def unknown(value: Any, schema: dict[str, Any], where: str = "") -> set[str]:
    """Paths of members that the description does not have."""
    schema = resolved(schema)
    if isinstance(value, list):
        return set().union(
            *(unknown(item, schema.get("items", {}), f"{where}[]") for item in value)
        )
    if not isinstance(value, dict):
        return set()
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    found: set[str] = set()
    for name, member in value.items():
        if name in known:
            found |= unknown(member, known[name], f"{where}.{name}")
        elif isinstance(rest, dict):
            found |= unknown(member, rest, f"{where}.*")
        elif known:
            found.add(f"{where}.{name}")
    return found
