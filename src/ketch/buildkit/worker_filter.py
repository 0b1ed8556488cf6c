"""Filters of ``ListWorkers`` (containerd's: ``id==…``, ``labels."name"~=…``, ``platform==…``).

One filter is a list of conditions, separated by commas, that must all hold; of several filters one
must. A condition without an operator wants the field to be there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ketch.engine import patterns
from ketch.errors import InvalidParameter
from ketch.oci.platform import Platform

if TYPE_CHECKING:
    from ketch.buildkit.messages.control import WorkerRecord

_CONDITION = re.compile(r'(id|platform|labels\.(?:"([^"]+)"|([\w./-]+)))(?:(==|!=|~=)(.*))?')


def passes(filters: Sequence[str], worker: WorkerRecord) -> bool:
    """Whether a client wants a worker; raises ``InvalidParameter``."""
    wanted = [[_holds(word.strip(), worker) for word in text.split(",")] for text in filters]
    return not wanted or any(map(all, wanted))


def _holds(condition: str, worker: WorkerRecord) -> bool:
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise InvalidParameter(
            f'the filter {condition!r:.200} of workers is not supported: id, platform, labels."…"'
        )
    field, quoted, plain, operator, value = match.groups()
    value = (value or "").strip('"')
    if field == "id":
        values = [worker.ID]
    elif field == "platform":
        values = [
            str(Platform(os=one.OS, architecture=one.Architecture, variant=one.Variant))
            for one in worker.platforms
        ]
    else:
        label = worker.Labels.get(quoted or plain)
        values = [] if label is None else [label]
    if not operator:
        return bool(values)
    if operator == "~=":
        patterns.check(value)
        return any(patterns.is_found(value, text) for text in values)
    return (value in values) == (operator == "==")
