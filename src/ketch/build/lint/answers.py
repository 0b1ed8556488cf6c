"""Answers to questions about a Dockerfile that build nothing: BuildKit's subrequests.

Names, versions and keys of the results are BuildKit's (frontend/subrequests), so that ``docker
buildx build --check`` and ``--call`` read them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ketch.build.dockerfile.ast import Dockerfile, Run, Stage
from ketch.build.dockerfile.plan import Plan
from ketch.build.dockerfile.scope import GlobalScope
from ketch.build.dockerfile.source import DockerfileError, Range, excerpt
from ketch.build.lint.arguments import Argument, arguments
from ketch.build.lint.descriptions import description_of
from ketch.build.lint.rules import Finding
from ketch.errors import KetchError

VERSION = "1.0.0"
LINT, OUTLINE, TARGETS = "frontend.lint", "frontend.outline", "frontend.targets"
_ALWAYS_TOLD = ("warnings", "opts", "inputs", "refs", "definition")
DESCRIBE = "frontend.subrequests.describe"
_TARGET = {"name": "target", "description": "Target build stage"}
_RESULTS = ("result.json", "result.txt")
_KNOWN = {
    LINT: ("Lint a Dockerfile", (*_RESULTS, "result.statuscode")),
    OUTLINE: ("List all parameters current build takes", _RESULTS),
    TARGETS: ("List all targets current build supports", _RESULTS),
    DESCRIBE: ("List available subrequest types", _RESULTS),
}


class Answer(msgspec.Struct, frozen=True):
    """``document`` is for programs, ``text`` for people; ``status`` 1 says that a check failed."""

    document: Any
    text: str
    status: int = 0

    def metadata(self) -> dict[str, bytes]:
        """As the result of a front end carries it."""
        return {
            "result.json": json.dumps(_told_only(self.document), indent=2).encode(),
            "result.txt": self.text.encode(),
            "result.statuscode": str(self.status).encode(),
            "version": VERSION.encode(),
        }


def _told_only(document: Any) -> Any:
    """Without members that say nothing, as Go's JSON leaves them out."""
    if isinstance(document, list):
        return [_told_only(each) for each in document]
    if isinstance(document, dict):
        return {
            key: _told_only(value)
            for key, value in document.items()
            if value or key in _ALWAYS_TOLD
        }
    return document


def describe() -> Answer:
    """Which questions there are."""
    found = [
        {
            "name": name,
            "version": VERSION,
            "type": "rpc",
            "description": description,
            "opts": [_TARGET] if name == OUTLINE else [],
            "inputs": None,
            "metadata": [{"name": result, "description": ""} for result in results],
            "refs": None,
        }
        for name, (description, results) in _KNOWN.items()
    ]
    rows = [("NAME", "VERSION", "DESCRIPTION")]
    rows += [(name, VERSION, description) for name, (description, _) in _KNOWN.items()]
    return Answer(found, _table(rows))


def lint(
    dockerfile: Dockerfile,
    data: bytes,
    findings: Sequence[Finding],
    error: KetchError | None = None,
) -> Answer:
    """What the checks found, and the error that a build would end with."""
    warnings = [
        {
            "ruleName": finding.rule.name,
            "description": finding.rule.description,
            "url": finding.rule.url,
            "detail": finding.detail,
            "suggestion": finding.suggestion,
            "location": _location(finding.place),
        }
        for finding in findings
    ]
    text = "".join(_told(dockerfile, finding) for finding in findings)
    sources = [_source(dockerfile.source.name, data)]
    document: dict[str, Any] = {"warnings": warnings or None, "sources": sources}
    if error is not None:
        document["buildError"] = _build_error(error)
        text += f"ERROR: {error}\n"
    return Answer(document, text, int(bool(findings or error)))


def lint_error(error: DockerfileError, data: bytes) -> Answer:
    """A file that can't be built is no failure of the question."""
    document = {
        "warnings": None,
        "sources": [_source(error.source.name, data)],
        "buildError": _build_error(error),
    }
    return Answer(document, f"ERROR: {error}\n", 1)


def _build_error(error: KetchError) -> dict[str, Any]:
    if not isinstance(error, DockerfileError):
        return {"message": str(error)}
    return {"message": error.head, "location": _location(error.where)}


def targets(dockerfile: Dockerfile, data: bytes) -> Answer:
    """The stages, and which one is built when none is named."""
    last = dockerfile.stages[-1].index
    found = [
        {
            "name": stage.base.alias,
            "default": stage.index == last,
            "description": description_of(dockerfile, stage.base, stage.base.alias),
            "base": stage.base.image,
            "platform": stage.base.platform,
            "location": _location(stage.base.range),
        }
        for stage in dockerfile.stages
    ]
    rows = [("TARGET", "DESCRIPTION")]
    for target in found:
        default = " (default)" if target["default"] else ""
        rows.append((f"{target['name'] or '<unnamed>'}{default}", str(target["description"])))
    return Answer({"targets": found, "sources": [_base64(data)]}, _table(rows))


def outline(dockerfile: Dockerfile, plan: Plan, scope: GlobalScope, data: bytes) -> Answer:
    """What the build of a target takes: arguments, secrets, agents, cache mounts."""
    stages = [planned.stage for planned in plan.stages]
    target = plan.target.stage.base
    document = {
        "name": target.alias,
        "description": description_of(dockerfile, target, target.alias),
        "args": [_argument(dockerfile, one) for one in arguments(dockerfile, plan, scope)],
        "secrets": list(_mounts(stages, "secret")),
        "ssh": list(_mounts(stages, "ssh")),
        "cache": [{"ID": m["name"], "location": m["location"]} for m in _mounts(stages, "cache")],
        "sources": [_base64(data)],
    }
    return Answer(document, _outlined(document))


def _argument(dockerfile: Dockerfile, argument: Argument) -> dict[str, Any]:
    return {
        "name": argument.name,
        "description": description_of(dockerfile, argument.declared, argument.name),
        "value": argument.value or "",
        "location": _location(argument.declared.range),
    }


def _mounts(stages: list[Stage], kind: str) -> Iterator[dict[str, Any]]:
    """By name, each once; one that is needed anywhere is needed."""
    found: dict[str, dict[str, Any]] = {}
    steps = (step for stage in stages for step in stage.steps if isinstance(step, Run))
    for mount in (mount for step in steps for mount in step.mounts):
        if mount.type == kind:
            name = mount.id or (mount.source if kind == "secret" else "") or mount.target
            name = "default" if kind == "ssh" and not mount.id else name
            one = {"name": name, "required": mount.required, "location": _location(mount.place)}
            found.setdefault(name, one)
            found[name]["required"] |= mount.required
    yield from found.values()


def _outlined(document: dict[str, Any]) -> str:
    parts = []
    if document["name"]:
        described = document["description"]
        parts.append(f"TARGET:      {document['name']}\n")
        parts.append(f"DESCRIPTION: {described}\n" if described else "")
    if document["args"]:
        rows = [("BUILD ARG", "VALUE", "DESCRIPTION")]
        rows += [(arg["name"], arg["value"], arg["description"]) for arg in document["args"]]
        parts.append(_table(rows))
    for title, key in (("SECRET", "secrets"), ("SSH", "ssh")):
        if document[key]:
            needed = [(m["name"], "true" if m["required"] else "") for m in document[key]]
            parts.append(_table([(title, "REQUIRED"), *needed]))
    if document["cache"]:
        parts.append(_table([("CACHE",), *((mount["ID"],) for mount in document["cache"])]))
    return "\n".join(filter(None, parts))


def _told(dockerfile: Dockerfile, finding: Finding) -> str:
    rule = finding.rule
    return (
        f"WARNING: {rule.name} - {rule.url}\n{rule.description}\n{finding.detail}\n"
        f"{excerpt(dockerfile.source, finding.place)}\n"
        f"Suggestion: {finding.suggestion}\n\n"
    )


def _source(name: str, data: bytes) -> dict[str, Any]:
    return {"filename": name, "data": _base64(data), "definition": None, "language": "Dockerfile"}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _location(place: Range) -> dict[str, Any]:
    """Columns in BuildKit's way: whole lines."""
    lines = {"start": {"line": place.start.line}, "end": {"line": place.end.line}}
    return {"ranges": [lines]}


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "   ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines)
