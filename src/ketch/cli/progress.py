"""Showing the engine's progress streams (pull, load, import, push).

On a terminal bars, drawn by rich, which is imported only then; else one line per change of state,
without the counting.
"""

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
    elif output.isatty() and _can_draw():
        _bars(messages, output)
    else:
        _plain(messages, output)


def _can_draw() -> bool:
    from ketch.cli import libraries

    return libraries.has_rich()


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


def _bars(messages: "Iterable[dict[str, Any]]", output: "TextIO") -> None:
    """One line for each layer; what belongs to no layer scrolls by above."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.fields[layer]}: {task.description}"),
        BarColumn(bar_width=40),
        DownloadColumn(),
    )
    bars: dict[str, Any] = {}
    with Progress(*columns, console=Console(file=output)) as progress:
        for message in messages:
            _raise_error(message)
            layer, status = message.get("id"), str(message.get("status", ""))
            if "stream" in message or not layer:
                text = str(message.get("stream", status)).rstrip()
                progress.console.print(text, highlight=False, markup=False)
                continue
            if layer not in bars:
                bars[layer] = progress.add_task(status, total=None, layer=layer)
            _advance(progress, bars[layer], status, message.get("progressDetail") or {})


def _advance(progress: "Any", task: "Any", status: str, detail: "dict[str, Any]") -> None:
    if detail:
        progress.update(
            task,
            description=f"{status:<18}",
            completed=detail.get("current"),
            total=detail.get("total"),
        )
    else:
        done = "complete" in status.lower() or "exists" in status.lower()
        progress.update(task, description=f"{status:<18}")
        if done:
            progress.update(task, total=1, completed=1)
