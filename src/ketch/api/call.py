"""One request as a handler sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ketch.api import body, filters, times
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

    from ketch.api.connection import Connection
    from ketch.api.versions import Version
    from ketch.engine.engine import Engine
    from ketch.engine.filters import Filters

T = TypeVar("T")

_FALSE = frozenset({"", "0", "no", "false", "none"})
_INT64 = 1 << 63


class Call:
    """A matched request: the engine, the parameters of the path and the query, typed readers."""

    __slots__ = ("connection", "engine", "params", "query", "request", "version")

    def __init__(
        self, engine: Engine, request: BaseRequest, version: Version, params: dict[str, str]
    ) -> None:
        self.engine = engine
        self.request = request
        self.connection: Connection = request.protocol  # type: ignore[assignment]
        self.version = version
        self.params = params
        self.query = request.query

    @property
    def id(self) -> str:
        """The object that the path names."""
        return self.params["id"]

    def text(self, name: str, default: str = "") -> str:
        """A query parameter as it is."""
        return self.query.get(name, default)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean as Docker reads it: anything but "", 0, no, false and none is true."""
        value = self.query.get(name)
        return default if value is None else value.strip().lower() not in _FALSE

    def integer(self, name: str, default: int = 0) -> int:
        """A 64-bit whole number; raises ``InvalidParameter`` for anything else."""
        number = self.optional_integer(name)
        return default if number is None else number

    def optional_integer(self, name: str) -> int | None:
        """Like ``integer``; None when it is absent or empty."""
        value = self.query.get(name, "")
        if not value:
            return None
        try:
            number = int(value) if value.isascii() and len(value) < 21 else _INT64
        except ValueError:
            raise InvalidParameter(f"invalid value for {name!r}: {value!r} is no number") from None
        if not -_INT64 <= number < _INT64:
            raise InvalidParameter(f"invalid value for {name!r}: {value[:40]!r} is out of range")
        return number

    def instant(self, name: str) -> int:
        """An instant as ns since the epoch, 0 when absent."""
        return times.parse(self.query.get(name, ""), name)

    def filters(self, allowed: frozenset[str] | None = None) -> Filters:
        """The ``filters`` parameter; see ``ketch.api.filters``."""
        return filters.parse(self.query.get("filters", ""), allowed)

    async def json(self, type: type[T]) -> T:
        """The JSON body."""
        return await body.read_json(self.request, type)

    async def optional_json(self, type: type[T]) -> T | None:
        """The JSON body, None when empty."""
        return await body.read_optional_json(self.request, type)
