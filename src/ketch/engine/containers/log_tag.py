"""Tags of log messages: templates such as ``{{.ImageName}}/{{.Name}}`` (pure).

The fields are those of Docker's documentation on log tags. Of Go's template language fields alone
are known; anything else is refused by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from ketch.engine.containers.record import ContainerRecord
from ketch.errors import InvalidParameter

DEFAULT = "{{.ID}}"
_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_FIELDS: dict[str, Callable[[ContainerRecord], str]] = {
    "ID": lambda record: record.id[:12],
    "FullID": lambda record: record.id,
    "Name": lambda record: record.name,
    "ContainerID": lambda record: record.id,
    "ContainerName": lambda record: f"/{record.name}",
    "ContainerImageName": lambda record: record.spec.image,
    "ContainerImageID": lambda record: record.image_id,
    "ImageName": lambda record: record.spec.image,
    "ImageID": lambda record: record.image_id.removeprefix("sha256:")[:12],
    "ImageFullID": lambda record: record.image_id,
    "Command": lambda record: " ".join((record.spec.entrypoint or ()) + (record.spec.cmd or ())),
    "Hostname": lambda record: os.uname().nodename,
    "DaemonName": lambda record: "ketch",
}


def check(template: str) -> None:
    """Raise ``InvalidParameter`` for what ``render`` would not understand."""
    for action in _ACTION.findall(template):
        if action.removeprefix(".") not in _FIELDS or not action.startswith("."):
            known = ", ".join(f".{name}" for name in _FIELDS)
            raise InvalidParameter(f"log opt 'tag': {{{{{action}}}}} is none of {known}")
    if "{{" in _ACTION.sub("", template):
        raise InvalidParameter(f"log opt 'tag': {template!r} has an action that is not closed")


def render(template: str, record: ContainerRecord) -> str:
    """The tag of a container."""
    return _ACTION.sub(lambda match: _FIELDS[match[1].removeprefix(".")](record), template)
