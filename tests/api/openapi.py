"""Checks of JSON against Docker's OpenAPI description, where it lies beside the project."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

NAME = "reference/engine-api-1.56-swagger.yaml"


def _file() -> Path | None:
    """``$KETCH_SHARED``, or ``shared`` beside the project (or beside the folder of worktrees)."""
    root = Path(__file__).parents[2]
    named = os.environ.get("KETCH_SHARED")
    folders = [Path(named)] if named else [root.parent / "shared", root.parent.parent / "shared"]
    return next((path for folder in folders if (path := folder / NAME).exists()), None)


@cache
def described() -> dict[str, Any]:
    """The description as it is, examples included."""
    file = _file()
    if file is None:
        pytest.skip(
            f"{NAME} is neither in $KETCH_SHARED nor in ../shared: nothing to check against"
        )
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load(file.read_text(), loader)
    return found


@cache
def document() -> dict[str, Any]:
    """For validating: see ``relaxed``."""
    return relaxed(described())


def relaxed(node: Any) -> Any:
    """Every value may be null, as Go's are; ``format`` says nothing here."""
    if isinstance(node, list):
        return [relaxed(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: relaxed(value) for key, value in node.items() if key not in ("format", "example")}
    if isinstance(found.get("type"), str) and found["type"] in _TYPES:
        found["type"] = [found["type"], "null"]
        if isinstance(found.get("enum"), list):
            found["enum"] = [*found["enum"], None]
    return found


_TYPES = {"object", "array", "string", "integer", "number", "boolean"}


def check(value: Any, name: str) -> None:
    """``value`` has the shape of the definition ``name``; raises ``ValidationError``."""
    schema = {"$ref": f"#/definitions/{name}", "definitions": document()["definitions"]}
    jsonschema.Draft4Validator(schema).validate(value)


def response(method: str, path: str, status: int) -> dict[str, Any]:
    """The schema of an answer."""
    found = document()["paths"][path][method]["responses"]
    return dict((found.get(status) or found.get(str(status)))["schema"])


def check_response(value: Any, method: str, path: str, status: int = 200) -> None:
    schema = {**response(method, path, status), "definitions": document()["definitions"]}
    jsonschema.Draft4Validator(schema).validate(value)
