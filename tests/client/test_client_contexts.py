"""The store of contexts, their archives, which engine counts, and what ssh is asked."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.client import endpoint
from ketch.client.address import Address
from ketch.client.context_archive import pack, unpack
from ketch.client.contexts import Context, Store
from ketch.client.ssh import command
from ketch.errors import Conflict, InvalidParameter, NotFound

DOCUMENT = {
    "Name": "far",
    "Metadata": {"Description": "d", "Other": 1},
    "Endpoints": {"docker": {"Host": "tcp://h:2376", "SkipTLSVerify": False}},
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("KETCH_HOST", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_TLS"):
        monkeypatch.delenv(name, raising=False)
    return Store()


def test_a_context_comes_back(store: Store) -> None:
    store.add(Context(DOCUMENT, {}), {"ca": b"CA"})
    found = store.get("far")
    assert found.document() == DOCUMENT
    assert Path(found.tls["ca"]).read_bytes() == b"CA"
    with pytest.raises(Conflict):
        store.add(Context(DOCUMENT, {}), {})
    again, tls = unpack(pack(found), "other")
    assert (again.name, again.host, tls) == ("other", "tcp://h:2376", {"ca": b"CA"})
    store.remove("far")
    with pytest.raises(NotFound):
        store.get("far")
    assert store.names() == []


def test_zip_archives() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("meta.json", json.dumps(DOCUMENT))
        archive.writestr("tls/docker/key.pem", "KEY")
    assert unpack(out.getvalue(), "z")[1] == {"key": b"KEY"}


def test_members_that_have_no_place() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../etc/passwd"))
    with pytest.raises(InvalidParameter, match="unexpected file"):
        unpack(out.getvalue(), "x")


@given(st.binary(max_size=2000), st.sampled_from([b"", b"PK\3\4", b"PK\5\6"]))
def test_anything_else_is_no_archive(data: bytes, head: bytes) -> None:
    with pytest.raises(InvalidParameter):
        unpack(head + data, "x")


@given(st.integers(0, 1500), st.integers(1, 255))
def test_flipped_archives_raise_only_our_errors(at: int, flip: int) -> None:
    data = bytearray(pack(Context(DOCUMENT, {})))
    data[at % len(data)] ^= flip
    try:
        unpack(bytes(data), "x")
    except InvalidParameter:
        pass


def test_which_engine(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add(Context(DOCUMENT, {}), {})
    assert endpoint.from_environment().text == "unix:///run/ketch/ketch.sock"
    (tmp_path / "config.json").write_text('{"currentContext": "far", "HttpHeaders": {"X": "y"}}')
    found = endpoint.from_environment()
    assert (found.text, dict(found.headers)) == ("tcp://h:2376", {"X": "y"})
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert endpoint.from_environment().scheme == "unix"
    monkeypatch.setenv("DOCKER_HOST", "tcp://d:1")
    assert endpoint.from_environment().text == "tcp://d:1"
    monkeypatch.setenv("KETCH_HOST", "unix:///k")
    assert endpoint.from_environment().text == "unix:///k"
    assert endpoint.from_environment(context="far").text == "tcp://h:2376"
    with pytest.raises(InvalidParameter, match="cannot specify both"):
        endpoint.from_environment("unix:///x", "far")
    (tmp_path / "config.json").write_text('{"HttpHeaders": {"X": "a\\r\\nEvil: b"}}')
    with pytest.raises(InvalidParameter, match="line break"):
        endpoint.from_environment()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InvalidParameter, match="no JSON"):
        endpoint.from_environment()


def test_what_ssh_is_asked() -> None:
    words = command(Address("ssh://me@far:222/run/o'dd.sock"))
    assert words[:8] == ["ssh", "-o", "ConnectTimeout=30", "-T", "-l", "me", "-p", "222"]
    assert words[8:10] == ["--", "far"]
    assert words[10].startswith("sh -c '")


@pytest.mark.parametrize(
    "text", ["ssh://", "ssh://me:secret@h", "ssh://-oProxyCommand=x", "ssh://h:x", "tcp://h", "x"]
)
def test_malformed_addresses(text: str) -> None:
    with pytest.raises(InvalidParameter):
        Address(text)
