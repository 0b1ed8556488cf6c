"""What clients show of the vertices of a graph: the name that its client gave, or BuildKit's."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from ketch.llb import vertices as v
from ketch.llb.messages import Op

_NAME = "llb.customname"
_LONGEST = 1000  # characters
_ACCOUNT = re.compile(r"://[^/@\s]*@")


def name_of(
    work: v.Work,
    op: Op,
    inputs: tuple[v.Edge, ...],
    description: Mapping[str, str],
    known: Mapping[str, v.Vertex],
) -> str:
    """``known`` has the vertices that the inputs name."""
    given = description.get(_NAME)
    return (given or _name(work, op, [known[one.vertex].name for one in inputs]))[:_LONGEST]


def _name(work: v.Work, op: Op, inputs: list[str]) -> str:
    if op.source is not None:
        return _ACCOUNT.sub("://", op.source.identifier)  # names are kept and shown
    if isinstance(work, v.Exec):
        return " ".join(work.args)
    if isinstance(work, v.Files):
        return ", ".join(_change(action.change) for action in work.actions)
    if isinstance(work, v.Merge):
        return f"merge ({', '.join(_input(inputs, place) for place in work.inputs)})"
    if isinstance(work, v.Diff):
        return f"diff ({_input(inputs, work.lower)}) -> ({_input(inputs, work.upper)})"
    return "build"


def _input(names: list[str], place: int) -> str:
    return "scratch" if place == v.EMPTY else names[place]


def _change(change: v.Change) -> str:
    if isinstance(change, v.Copy):
        return f"copy {change.source} {change.destination}"
    if isinstance(change, v.MakeFile):
        return f"mkfile {change.path}"
    if isinstance(change, v.MakeDirectory):
        return f"mkdir {change.path}"
    if isinstance(change, v.MakeLink):
        return f"symlink {posixpath.normpath(change.path)} -> {change.target}"
    return f"rm {change.path}"
