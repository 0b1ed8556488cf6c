"""``ketch context export`` and ``import``: a context as one file."""

import os
import sys

from ketch.cli.context_endpoint import current
from ketch.cli.flags import Flag, UsageError, parse
from ketch.client import endpoint
from ketch.client.context_archive import LARGEST, pack, unpack
from ketch.client.contexts import Store, check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.client.api import Client

HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "export": ("CONTEXT FILE|-", ()),
    "import_": ("CONTEXT FILE|-", ()),
}


def export(client: "Client", argv: "list[str]") -> int:
    """Write a context to a file."""
    words = parse((), argv).words
    if not 1 <= len(words) <= 2:
        raise UsageError("'ketch context export' requires 1 or 2 arguments")
    name = words[0]
    context = current() if name == endpoint.DEFAULT_CONTEXT else Store().get(name)
    data = pack(context)
    path = words[1] if len(words) == 2 else f"{name}.dockercontext"
    if path == "-":
        if os.isatty(1):
            raise UsageError("cowardly refusing to export to a terminal, specify a file path")
        sys.stdout.buffer.write(data)
        return 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
    sys.stderr.write(f'Written file "{path}"\n')
    return 0


def import_(client: "Client", argv: "list[str]") -> int:
    """Store a context from a file."""
    words = parse((), argv).words
    if len(words) != 2:
        raise UsageError("'ketch context import' requires 2 arguments")
    name, path = words
    check_name(name)
    if path == "-":
        data = sys.stdin.buffer.read(LARGEST + 1)
    else:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    Store().add(*unpack(data, name))
    sys.stdout.write(name + "\n")
    sys.stdout.flush()
    sys.stderr.write(f'Successfully imported context "{name}"\n')
    return 0
