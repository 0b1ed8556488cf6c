"""A container's processes, as ps(1) of the host shows them."""

from __future__ import annotations

import asyncio
import shlex

import msgspec

from ketch.errors import InvalidParameter, Unavailable


class TopTable(msgspec.Struct, frozen=True, kw_only=True):
    """ps(1) output of a container's processes."""

    titles: tuple[str, ...]
    processes: tuple[tuple[str, ...], ...]


async def top(pids: list[int], ps_args: str) -> TopTable:
    """Run ps and keep the rows of ``pids``.

    Raises ``InvalidParameter`` when ps refuses the arguments or its output has no PID column
    (Docker takes that for a fault of its own), ``Unavailable`` when there is no ps.
    """
    try:
        words = shlex.split(ps_args) or ["-ef"]
    except ValueError as error:
        raise InvalidParameter(f"invalid ps_args {ps_args!r}: {error}") from None
    output = await _ps(words)
    return select(output, set(pids))


async def _ps(arguments: list[str]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            "ps", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise Unavailable(
            "the program 'ps' is not installed on the host (package procps)"
        ) from None
    except (OSError, ValueError) as error:  # too long, a NUL byte
        raise InvalidParameter(f"invalid ps_args: {error}") from None
    out, err = await process.communicate()
    if process.returncode:
        raise InvalidParameter(f"ps: {err.decode(errors='replace').strip()}")
    return out.decode(errors="replace")


def select(output: str, pids: set[int]) -> TopTable:
    """Parse ps output: the last column takes the rest of its line."""
    header, *rows = output.splitlines() or [""]
    titles = header.split()
    if "PID" not in titles:
        raise InvalidParameter("Couldn't find PID field in ps output")
    column = titles.index("PID")
    processes = [row.split(None, len(titles) - 1) for row in rows]
    return TopTable(
        titles=tuple(titles),
        processes=tuple(
            tuple(fields)
            for fields in processes
            if len(fields) > column and fields[column].isdecimal() and int(fields[column]) in pids
        ),
    )
