"""The tar reader on good, odd, broken and hostile archives; the writer against other readers."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ketch.errors import DataCorrupt, InvalidParameter, KetchError, Unsupported
from ketch.layers import fields
from ketch.layers.entry import Entry
from ketch.layers.tarread import TarReader
from ketch.layers.tarwrite import TarWriter, headers
from ketch.layers.tree import Tree
from ketch.layers.walk import Walk


def written(*entries: Entry) -> bytes:
    buffer = io.BytesIO()
    writer = TarWriter(buffer)
    for entry in entries:
        writer.add(entry)
    writer.finish()
    return buffer.getvalue()


def member(name: bytes = b"f", **attributes) -> Entry:
    entry = Entry(name, attributes.pop("mode", stat.S_IFREG | 0o644))
    for key, value in attributes.items():
        setattr(entry, key, value)
    return entry


def read(data: bytes) -> list[Entry]:
    return list(TarReader(io.BytesIO(data)))


def resum(block: bytearray) -> bytes:
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


names = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name)


@given(
    name=names,
    link=names,
    mtime=st.integers(-(2**40), 2**70),
    owner=st.integers(0, 2**32 - 2),
    value=st.binary(max_size=300),
    kind=st.sampled_from([stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR]),
    permissions=st.integers(0, 0o7777),
)
def test_what_is_written_is_read(name, link, mtime, owner, value, kind, permissions):
    entry = member(
        name, mode=kind | permissions, mtime=mtime, uid=owner, gid=owner // 2,
        xattrs={b"user.x": value}, rdev=(8, 70000) if kind == stat.S_IFCHR else (0, 0),
    )  # fmt: skip
    if kind == stat.S_IFLNK:
        entry.link = link
    [again] = read(written(entry))
    for key in ("mode", "mtime", "uid", "gid", "xattrs", "rdev", "link"):
        assert getattr(again, key) == getattr(entry, key), key
    assert again.name.rstrip(b"/") == name.rstrip(b"/")


@given(st.binary(max_size=3000))
def test_random_bytes_raise_only_our_errors(data):
    try:
        read(data)
    except KetchError:
        pass


@settings(max_examples=300)
@given(st.data())
def test_mutated_archives_raise_only_our_errors(data):
    good = bytearray(
        written(
            member(b"d/", mode=stat.S_IFDIR | 0o755),
            member(b"d/" + b"x" * 150, mtime=5, xattrs={b"user.a": b"b"}),
            member(b"l", mode=stat.S_IFLNK | 0o777, link=b"d"),
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(good) - 1))
        good[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        for start in range(0, len(good), 512):
            if b"ustar" in good[start : start + 512]:
                good[start : start + 512] = resum(good[start : start + 512])
    tree = Tree()
    try:
        for entry in TarReader(io.BytesIO(bytes(good))):
            tree.add(entry)
    except KetchError:
        pass


@pytest.mark.parametrize("before", [b"", fields.record(b"a", b"b")])
def test_a_pax_record_without_a_length_is_refused(before):
    """Once it was taken for all that there is, again and again, until the memory was full."""
    with pytest.raises(DataCorrupt, match="wrong length"):
        fields.records(before + b"a-key-of-many-letters=value\n")


@given(st.binary(max_size=200))
def test_pax_records_raise_only_our_errors(body):
    try:
        fields.records(body)
    except DataCorrupt:
        pass


@given(st.binary(min_size=1, max_size=200).filter(lambda key: b"=" not in key), st.binary())
def test_pax_record_counts_itself(key, value):
    assert fields.records(fields.record(key, value)) == [(key, value)]


@pytest.mark.parametrize("value", [0, 1, 8**7 - 1, 8**7, 2**40, -1, -(2**50)])
def test_numbers_round_trip(value):
    assert fields.number(octal(value, 12), "size") == value


@pytest.mark.parametrize("text", [b"1_0", b"+1", b"0x1", b"9", b"-1", b"1 1"])
def test_numbers_that_are_none(text):
    with pytest.raises(DataCorrupt):
        fields.number(text.ljust(8, b"\0"), "uid")


def test_sizes_beyond_reason():
    for size in (2**63, 2**70, -1):
        block = bytearray(headers(member()))
        block[124:136] = octal(size, 12)
        with pytest.raises(InvalidParameter, match="size"):
            read(resum(block))
    block = bytearray(headers(member()))
    block[124:136] = octal(2**62, 12)
    with pytest.raises(DataCorrupt, match="EOF"):
        read(resum(block))


def test_pax_size_wins_over_the_header():
    """Readers that skip by the header's size would see the hidden member."""
    hidden = headers(member(b"hidden"))
    body = fields.record(b"size", b"512")
    extended = bytearray(headers(member(b"x")))
    extended[156:157] = b"x"
    extended[124:136] = octal(len(body), 12)
    data = resum(extended) + body.ljust(512, b"\0") + headers(member(b"outer")) + hidden
    assert [entry.name for entry in read(data + bytes(1024))] == [b"outer"]


def test_gnu_tar_archives_with_long_names(tmp_path):
    (tmp_path / "t").mkdir()
    long_name = "d" * 120 + "/" + "e" * 200
    (tmp_path / "t" / long_name).parent.mkdir()
    (tmp_path / "t" / long_name).symlink_to("y" * 300)
    for form in ("gnu", "pax"):
        data = subprocess.run(
            ["tar", f"--format={form}", "-C", tmp_path / "t", "-cf", "-", "."],
            check=True,
            capture_output=True,
        ).stdout
        [link] = [entry for entry in read(data) if stat.S_ISLNK(entry.mode)]
        assert link.name == f"./{long_name}".encode()
        assert link.link == b"y" * 300


def test_sparse_members_are_refused(tmp_path):
    with open(tmp_path / "holes", "wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"data")
    for form in ("gnu", "pax"):
        data = subprocess.run(
            ["tar", "-S", f"--format={form}", "-C", tmp_path, "-cf", "-", "holes"],
            check=True,
            capture_output=True,
        ).stdout
        with pytest.raises(Unsupported, match="sparse"):
            read(data)


def test_an_archive_that_ends_with_its_last_byte_of_content():
    """As docker build -f with a Dockerfile outside of the context sends them."""
    data = headers(member(b"a", size=700)) + b"x" * 700
    reader = TarReader(io.BytesIO(data))
    assert [(entry.name, reader.read(1000)) for entry in reader] == [(b"a", b"x" * 700)]
    assert reader.position == len(data)
    with pytest.raises(DataCorrupt):
        read(data[:-1])


def test_members_after_a_lone_zero_block_are_no_secret():
    with pytest.raises(DataCorrupt):
        read(bytes(512) + headers(member(b"hidden")) + bytes(1024))


def test_gnu_tar_and_tarfile_read_what_we_write(tmp_path):
    entries = [
        member(b"dir", mode=stat.S_IFDIR | 0o1777, mtime=1_700_000_000_123_456_789),
        member(b"dir/" + b"n" * 240, uid=3_000_000),
        member("dir/ünï".encode(), mtime=-1_500_000_000),
        member(b"s", mode=stat.S_IFLNK | 0o777, link=b"t" * 200),
    ]
    data = written(*entries)
    listing = subprocess.run(["tar", "-tf", "-"], input=data, check=True, capture_output=True)
    assert listing.stdout.count(b"\n") == len(entries)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {info.name: info for info in tar}
    assert found["dir"].mtime == pytest.approx(1_700_000_000.123456789)
    assert found["dir/" + "n" * 240].uid == 3_000_000
    assert found["s"].linkname == "t" * 200


@pytest.mark.root
def test_every_name_of_an_inode_has_its_attributes(tmp_path):
    """Docker sets them with each name: zeros would take a file from its owner."""
    (tmp_path / "a").write_bytes(b"content")
    os.link(tmp_path / "a", tmp_path / "b")
    os.chown(tmp_path / "a", 70, 3_000_000)
    os.chmod(tmp_path / "a", 0o4711)
    os.setxattr(tmp_path / "a", "user.note", b"hello")
    os.utime(tmp_path / "a", ns=(1, 981_173_106_500_000_000))
    here = os.open(tmp_path.parent, os.O_RDONLY | os.O_DIRECTORY)
    buffer = io.BytesIO()
    writer = TarWriter(buffer)
    for entry, fd in Walk().tree(here, os.fsencode(tmp_path.name), b"d"):
        writer.add(entry, fd)
    os.close(here)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        first, second = tar.getmember("d/a"), tar.getmember("d/b")
    assert (second.type, second.linkname, second.size) == (tarfile.LNKTYPE, "d/a", 0)
    for member in (first, second):
        assert (member.uid, member.gid, member.mode) == (70, 3_000_000, 0o4711)
        assert member.mtime == 981_173_106.5
        assert member.pax_headers["SCHILY.xattr.user.note"] == "hello"


def test_directories_of_old_archivers():
    old = bytearray(headers(member(b"d/")))
    [entry] = read(bytes(old) + bytes(1024))
    assert entry.is_dir
    old[124:136] = octal(512, 12)
    with pytest.raises(InvalidParameter, match="directory with content"):
        read(resum(old) + headers(member(b"hidden")) + bytes(1024))


def test_a_header_name_cut_at_a_slash_is_no_directory():
    name = b"x/" * 199 + b"y"
    [entry] = read(written(member(name)))
    assert (entry.name, entry.is_file) == (name, True)


def octal(value: int, width: int) -> bytes:
    """A header field of ``width`` bytes: octal with a closing NUL where it fits, else base-256."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    if value < 0:
        return (value + (1 << (8 * width))).to_bytes(width, "big")
    return (value | (1 << (8 * width - 1))).to_bytes(width, "big")
