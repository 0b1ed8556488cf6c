"""The wire format against the reference implementation, and hostile bytes."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from ketch.errors import InvalidParameter
from ketch.protobuf import Message, field


class Inner(Message):
    text: str = field(1)
    number: int = field(2)


class Outer(Message):
    text: str = field(1)
    data: bytes = field(2)
    number: int = field(3)
    on: bool = field(4)
    words: list[str] = field(5)
    numbers: list[int] = field(6)
    inner: Inner | None = field(7)
    inners: list[Inner] = field(8)
    labels: dict[str, bytes] = field(9)
    by_name: dict[str, Inner] = field(20)


def reference() -> type:
    """The same message, as google.protobuf has it."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    inner = file.message_type.add(name="Inner")
    inner.field.add(name="text", number=1, type=kinds.TYPE_STRING, label=1)
    inner.field.add(name="number", number=2, type=kinds.TYPE_INT64, label=1)
    outer = file.message_type.add(name="Outer")
    for name, number, kind, label, type_name in (
        ("text", 1, kinds.TYPE_STRING, 1, ""),
        ("data", 2, kinds.TYPE_BYTES, 1, ""),
        ("number", 3, kinds.TYPE_INT64, 1, ""),
        ("on", 4, kinds.TYPE_BOOL, 1, ""),
        ("words", 5, kinds.TYPE_STRING, 3, ""),
        ("numbers", 6, kinds.TYPE_INT64, 3, ""),
        ("inner", 7, kinds.TYPE_MESSAGE, 1, ".t.Inner"),
        ("inners", 8, kinds.TYPE_MESSAGE, 3, ".t.Inner"),
        ("labels", 9, kinds.TYPE_MESSAGE, 3, ".t.Outer.LabelsEntry"),
        ("by_name", 20, kinds.TYPE_MESSAGE, 3, ".t.Outer.ByNameEntry"),
    ):
        outer.field.add(
            name=name, number=number, type=kind, label=label, type_name=type_name or None
        )
    for name, kind, type_name in (
        ("LabelsEntry", kinds.TYPE_BYTES, ""),
        ("ByNameEntry", kinds.TYPE_MESSAGE, ".t.Inner"),
    ):
        entry = outer.nested_type.add(name=name)
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=1)
        entry.field.add(name="value", number=2, type=kind, label=1, type_name=type_name or None)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Outer"))


REFERENCE = reference()
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBER = st.integers(-(1 << 63), (1 << 63) - 1)
INNER = st.builds(Inner, text=TEXT, number=NUMBER)
OUTER = st.builds(
    Outer,
    text=TEXT,
    data=st.binary(max_size=300),
    number=NUMBER,
    on=st.booleans(),
    words=st.lists(TEXT, max_size=3),
    numbers=st.lists(NUMBER, max_size=3),
    inner=st.none() | INNER,
    inners=st.lists(INNER, max_size=3),
    labels=st.dictionaries(TEXT, st.binary(max_size=5), max_size=3),
    by_name=st.dictionaries(TEXT, INNER, max_size=3),
)


@given(OUTER)
def test_what_we_write_the_reference_reads_and_the_reverse(message: Outer) -> None:
    theirs = REFERENCE.FromString(message.encode())
    assert (theirs.text, theirs.data, theirs.number, theirs.on) == (
        message.text, message.data, message.number, message.on,
    )  # fmt: skip
    assert (list(theirs.words), list(theirs.numbers)) == (message.words, message.numbers)
    assert dict(theirs.labels) == message.labels
    assert theirs.HasField("inner") == (message.inner is not None)
    assert Outer.decode(theirs.SerializeToString()) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        Outer.decode(data)
    except InvalidParameter:
        pass


def test_unknown_fields_are_skipped() -> None:
    assert Inner.decode(Outer(text="a", labels={"x": b"y"}, numbers=[7]).encode()) == Inner(
        text="a"
    )


def test_messages_within_messages_are_bounded() -> None:
    class Deep(Message):
        below: list[Deep] = field(1)

    globals()["Deep"] = Deep
    data = b""
    for _ in range(200):
        data = b"\x0a" + _varint(len(data)) + data
    with pytest.raises(InvalidParameter, match="too many messages"):
        Deep.decode(data)


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])
