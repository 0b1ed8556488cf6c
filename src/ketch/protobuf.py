"""Protocol Buffers messages as typed classes (proto3 wire format).

    class Stat(Message):
        path: str = field(1)
        size: int = field(5)
        xattrs: dict[str, bytes] = field(10)

A field's type says how it is encoded: ``str``, ``bytes``, ``bool`` and messages in the obvious way,
``int`` as a varint (int32, int64, uint32, enum; negative numbers take ten bytes), ``list`` repeats,
``dict`` is a map, ``X | None`` a message that may be missing. Unknown fields are skipped, those of
a ``strict`` message are refused; missing ones have their zero value. Source: protobuf.dev,
"Encoding".

gRPC fronts import this when the first client of theirs comes: it needs no generated code, and its
messages are checked by the type checker.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from ketch.errors import InvalidParameter, Unsupported

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_MASK = (1 << 64) - 1
_DEEPEST = 64  # messages within messages
M = TypeVar("M", bound="Message")


class _Number:
    """What ``field`` leaves in the class body, until the class is complete."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


def field(number: int) -> Any:
    """A field with this number; its type is the annotation's."""
    return _Number(number)


class Message:
    """See the module's docstring. Fields are set by keyword; equality is by value."""

    _fields: ClassVar[dict[int, _Field]]
    _numbers: ClassVar[dict[str, int]]
    _strict: ClassVar[bool] = False

    def __init_subclass__(cls, *, strict: bool = False) -> None:
        cls._strict = strict
        cls._numbers = {
            name: value.number for name, value in vars(cls).items() if isinstance(value, _Number)
        }
        for name in cls._numbers:
            delattr(cls, name)

    def __init__(self, **values: Any) -> None:
        for shape in _fields_of(type(self)).values():
            setattr(
                self, shape.name, values.pop(shape.name) if shape.name in values else shape.zero()
            )
        if values:
            raise TypeError(f"{type(self).__name__} has no field {next(iter(values))!r}")

    def encode(self) -> bytes:
        """The wire form; zero values are left out."""
        out = bytearray()
        for number, shape in _fields_of(type(self)).items():
            shape.write(out, number, getattr(self, shape.name))
        return bytes(out)

    @classmethod
    def decode(cls, data: bytes, depth: int = 0) -> Self:
        """Read the wire form; raises ``InvalidParameter`` when it is malformed, ``Unsupported`` for
        a field that a strict message does not have."""
        if depth > _DEEPEST:
            raise InvalidParameter("malformed message: too many messages within each other")
        found = cls()
        reader = _Reader(data)
        fields = _fields_of(cls)
        while reader.more():
            key = reader.varint()
            number, kind = key >> 3, key & 7
            shape = fields.get(number)
            if shape is None or not shape.takes(kind):
                if cls._strict:
                    raise Unsupported(f"the field {number} of {cls.__name__} is not supported")
                reader.skip(kind)
                continue
            shape.read(found, reader, kind, depth)
        return found

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value)
        return f"{type(self).__name__}({shown})"


def _fields_of(cls: type[Message]) -> dict[int, _Field]:
    """The fields by number; looked at when first needed, since classes may name later ones."""
    if "_fields" not in vars(cls):
        hints = get_type_hints(cls)
        fields = {number: _field(name, hints[name]) for name, number in cls._numbers.items()}
        cls._fields = dict(sorted(fields.items()))
    return cls._fields


def _field(name: str, hint: Any) -> _Field:
    origin, args = get_origin(hint), get_args(hint)
    if origin is list:
        return _Repeated(name, _scalar(args[0]))
    if origin is dict:
        return _Map(name, _scalar(args[0]), _scalar(args[1]))
    if origin in (types.UnionType, Union):
        return _Optional(name, _scalar(next(arg for arg in args if arg is not type(None))))
    return _Single(name, _scalar(hint))


class _Scalar:
    """How one value is written and read."""

    __slots__ = ("kind", "read", "write", "zero")

    def __init__(
        self,
        kind: int,
        zero: Callable[[], Any],
        write: Callable[[bytearray, Any], None],
        read: Callable[[_Reader, int], Any],
    ) -> None:
        self.kind = kind
        self.zero = zero
        self.write = write
        self.read = read


def _scalar(hint: Any) -> _Scalar:
    known = _SCALARS.get(hint)
    if known is not None:
        return known
    if not (isinstance(hint, type) and issubclass(hint, Message)):
        raise TypeError(f"{hint!r} cannot be the type of a field")

    def write(out: bytearray, value: Any) -> None:
        _write_bytes(out, value.encode())

    def read(reader: _Reader, depth: int) -> Any:
        return hint.decode(reader.chunk(), depth + 1)

    return _Scalar(_BYTES, hint, write, read)


class _Field:
    """One field of a message class."""

    def __init__(self, name: str, scalar: _Scalar) -> None:
        self.name = name
        self.scalar = scalar

    def zero(self) -> Any:
        """The value of a field that is not there."""
        return self.scalar.zero()

    def takes(self, kind: int) -> bool:
        """Whether a value may come with this wire type."""
        return kind == self.scalar.kind

    def write(self, out: bytearray, number: int, value: Any) -> None:
        """Append the field."""
        raise NotImplementedError

    def read(self, message: Message, reader: _Reader, kind: int, depth: int) -> None:
        """Take the field's next occurrence."""
        raise NotImplementedError

    def _put(self, out: bytearray, number: int, value: Any) -> None:
        _write_varint(out, number << 3 | self.scalar.kind)
        self.scalar.write(out, value)


class _Single(_Field):
    def write(self, out: bytearray, number: int, value: Any) -> None:
        if isinstance(value, Message):
            if any(vars(value).values()):
                self._put(out, number, value)
        elif value:
            self._put(out, number, value)

    def read(self, message: Message, reader: _Reader, kind: int, depth: int) -> None:
        setattr(message, self.name, self.scalar.read(reader, depth))


class _Optional(_Single):
    def zero(self) -> Any:
        return None

    def write(self, out: bytearray, number: int, value: Any) -> None:
        if value is not None:
            self._put(out, number, value)


class _Repeated(_Field):
    def zero(self) -> Any:
        return []

    def takes(self, kind: int) -> bool:
        return kind in (self.scalar.kind, _BYTES)

    def write(self, out: bytearray, number: int, value: Any) -> None:
        for item in value:
            self._put(out, number, item)

    def read(self, message: Message, reader: _Reader, kind: int, depth: int) -> None:
        found = getattr(message, self.name)
        if kind == self.scalar.kind:
            found.append(self.scalar.read(reader, depth))
            return
        packed = _Reader(reader.chunk())
        while packed.more():
            found.append(self.scalar.read(packed, depth))


class _Map(_Field):
    """Entries are messages of a key (1) and a value (2)."""

    def __init__(self, name: str, key: _Scalar, value: _Scalar) -> None:
        super().__init__(name, _SCALARS[bytes])
        self._key = key
        self._value = value

    def zero(self) -> Any:
        return {}

    def write(self, out: bytearray, number: int, value: Any) -> None:
        for key, item in value.items():
            entry = bytearray()
            for place, shape, part in ((1, self._key, key), (2, self._value, item)):
                _write_varint(entry, place << 3 | shape.kind)
                shape.write(entry, part)
            self._put(out, number, bytes(entry))

    def read(self, message: Message, reader: _Reader, kind: int, depth: int) -> None:
        entry = _Reader(reader.chunk())
        parts = {1: self._key.zero(), 2: self._value.zero()}
        while entry.more():
            tag = entry.varint()
            shape = {1: self._key, 2: self._value}.get(tag >> 3)
            if shape is None or shape.kind != tag & 7:
                entry.skip(tag & 7)
            else:
                parts[tag >> 3] = shape.read(entry, depth)
        getattr(message, self.name)[parts[1]] = parts[2]


class _Reader:
    """Takes values off the front of a message."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def varint(self) -> int:
        """An unsigned number of at most 64 bits."""
        value = shift = 0
        for _ in range(_LONGEST_VARINT):
            if self._at >= len(self._data):
                break
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & _MASK
            shift += 7
        raise InvalidParameter("malformed message: a number does not end")

    def chunk(self) -> bytes:
        """Bytes with their length in front."""
        size = self.varint()
        return self._take(size)

    def skip(self, kind: int) -> None:
        """Pass over a value that nobody knows."""
        if kind == _VARINT:
            self.varint()
        elif kind == _BYTES:
            self.chunk()
        elif kind in (_FIXED64, _FIXED32):
            self._take(8 if kind == _FIXED64 else 4)
        else:
            raise InvalidParameter(f"malformed message: unknown wire type {kind}")

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise InvalidParameter("malformed message: it is shorter than it says")
        found = self._data[self._at : self._at + size]
        self._at += size
        return found


def _write_varint(out: bytearray, value: int) -> None:
    value &= _MASK
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _write_bytes(out: bytearray, value: bytes) -> None:
    _write_varint(out, len(value))
    out += value


def _write_text(out: bytearray, value: str) -> None:
    _write_bytes(out, value.encode("utf-8", "surrogateescape"))


def _read_text(reader: _Reader, depth: int) -> str:
    return reader.chunk().decode("utf-8", "surrogateescape")


def _read_signed(reader: _Reader, depth: int) -> int:
    value = reader.varint()
    return value - (1 << 64) if value >> 63 else value


_SCALARS: dict[Any, _Scalar] = {
    int: _Scalar(_VARINT, int, _write_varint, _read_signed),
    bool: _Scalar(_VARINT, bool, _write_varint, lambda reader, depth: bool(reader.varint())),
    bytes: _Scalar(_BYTES, bytes, _write_bytes, lambda reader, depth: reader.chunk()),
    str: _Scalar(_BYTES, str, _write_text, _read_text),
}


class Timestamp(Message):
    """``google.protobuf.Timestamp``."""

    seconds: int = field(1)
    nanos: int = field(2)

    @classmethod
    def of(cls, ns: int) -> Timestamp:
        """From nanoseconds since the epoch."""
        return cls(seconds=ns // 1_000_000_000, nanos=ns % 1_000_000_000)
