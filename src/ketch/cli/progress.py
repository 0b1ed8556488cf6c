"""Showing the engine's progress streams (pull, load, import, push).

On a terminal bars, drawn by rich, which is imported only then; else one line per change of state,
without the counting.
"""

import sys

from ketch.errors import KetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TextIO


def show(messages: "Iterable[dict[str, Any]]", output: "TextIO", *, quiet: bool = False) -> None:
    """Show a stream of progress objects to its end; raises ``KetchError`` for an error in it."""
    if quiet:
        for message in messages:
            _raise_error(message)
    elif output.isatty():
        _bars(messages)
    else:
        _plain(messages, output)


def _raise_error(message: "dict[str, Any]") -> None:
    if message.get("error"):
        raise KetchError(str(message["error"]))


def _plain(messages: "Iterable[dict[str, Any]]", output: "TextIO") -> None:
    for message in messages:
        _raise_error(message)
        if "stream" in message:
            output.write(message["stream"])
        elif message.get("status") and not message.get("progressDetail"):
            prefix = f"{message['id']}: " if message.get("id") else ""
            output.write(f"{prefix}{message['status']}\n")
        output.flush()


def _bars(messages: "Iterable[dict[str, Any]]") -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.fields[layer]}: {task.description}"),
        BarColumn(bar_width=40),
        DownloadColumn(),
    )
    bars: dict[str, Any] = {}
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        for message in messages:
            _raise_error(message)
            layer, status = message.get("id"), str(message.get("status", ""))
            detail = message.get("progressDetail") or {}
            if "stream" in message or not layer:
                progress.console.print(message.get("stream", status).rstrip(), highlight=False)
                continue
            if layer not in bars:
                bars[layer] = progress.add_task(status, total=None, layer=layer)
            progress.update(
                bars[layer],
                description=f"{status:<18}",
                completed=detail.get("current"),
                total=detail.get("total"),
            )
