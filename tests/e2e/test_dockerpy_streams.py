"""docker-py: what is streamed (logs, attach, exec, events), and sockets."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time

import docker
import pytest

from e2e.dockerpy_client import started
from e2e.ketchd_process import Ketchd, wait_for

pytestmark = pytest.mark.root

BOTH = "sh -c 'echo out; echo err >&2; echo end'"


def test_logs(api: docker.APIClient, name: str) -> None:
    before = time.time()
    started(api, name, BOTH)
    api.wait(name)
    assert sorted(api.logs(name).split()) == [b"end", b"err", b"out"]
    assert api.logs(name, stderr=False) == b"out\nend\n"
    assert api.logs(name, stdout=False) == b"err\n"
    assert api.logs(name, tail=1).count(b"\n") == 1
    assert b"".join(api.logs(name, stderr=False, stream=True)) == b"out\nend\n"
    stamped = api.logs(name, stderr=False, timestamps=True).decode().splitlines()[0]
    assert stamped.endswith("Z out")
    assert api.logs(name, since=int(before) - 1) != b""
    assert api.logs(name, since=int(time.time()) + 100) == b""
    assert api.logs(name, until=int(before) - 100) == b""


def test_logs_that_follow(api: docker.APIClient, name: str) -> None:
    started(api, name, "sh -c 'echo one; while [ ! -e /go ]; do sleep 0.05; done; echo two'")
    stream = api.logs(name, stream=True, follow=True)
    assert next(stream) == b"one\n"
    api.exec_start(api.exec_create(name, "touch /go")["Id"])
    assert list(stream) == [b"two\n"]


def test_logs_of_a_terminal(api: docker.APIClient, name: str) -> None:
    started(api, name, BOTH, tty=True)
    api.wait(name)
    assert api.logs(name) == b"out\r\nerr\r\nend\r\n"


def test_attach(api: docker.APIClient, name: str) -> None:
    api.create_container("busybox", BOTH, name=name)
    stream = api.attach(name, stream=True, demux=True)
    api.start(name)
    parts = list(stream)
    assert b"".join(out for out, _ in parts if out) == b"out\nend\n"
    assert b"".join(err for _, err in parts if err) == b"err\n"


def test_attach_socket(api: docker.APIClient, name: str) -> None:
    api.create_container("busybox", "sh -c 'cat; echo over'", name=name, stdin_open=True, tty=False)
    sock = api.attach_socket(name, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    api.start(name)
    sock._sock.sendall(b"to the cat\n")
    assert frame(sock) == (1, b"to the cat\n")
    api.kill(name)
    assert sock.read(1) in (b"", None)
    sock.close()


def frame(sock: object) -> tuple[int, bytes]:
    head = exactly(sock, 8)
    kind, size = struct.unpack(">BxxxI", head)
    return kind, exactly(sock, size)


def exactly(sock: object, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = sock.read(size - len(data))  # type: ignore[attr-defined]
        assert chunk, data
        data += chunk
    return data


def test_exec_plain(api: docker.APIClient, name: str) -> None:
    identity = started(api, name)
    made = api.exec_create(
        name,
        ["sh", "-c", "echo $X; pwd; id -u; echo err >&2; exit 4"],
        environment={"X": "env"},
        workdir="/tmp",
        user="guest",
    )["Id"]
    before = api.exec_inspect(made)
    assert (before["Running"], before["ExitCode"], before["ContainerID"]) == (False, None, identity)
    out, err = api.exec_start(made, demux=True)
    assert (out, err) == (b"env\n/tmp\n1000\n", b"err\n")
    after = api.exec_inspect(made)
    assert (after["Running"], after["ExitCode"]) == (False, 4)
    assert after["ProcessConfig"]["entrypoint"] == "sh"
    assert after["ProcessConfig"]["user"] == "guest"
    with pytest.raises(docker.errors.NotFound):
        api.exec_inspect("nope")


def test_exec_streamed(api: docker.APIClient, name: str) -> None:
    started(api, name)
    made = api.exec_create(name, "sh -c 'echo 1; echo 2; echo 3'", stderr=False)["Id"]
    assert b"".join(api.exec_start(made, stream=True)) == b"1\n2\n3\n"


def test_exec_detached(api: docker.APIClient, name: str) -> None:
    started(api, name)
    made = api.exec_create(name, "sh -c 'sleep 0.1; touch /done'")["Id"]
    assert not api.exec_start(made, detach=True)
    wait_for(lambda: not api.exec_inspect(made)["Running"], "the exec did not end")
    assert api.exec_inspect(made)["ExitCode"] == 0
    assert {"Path": "/done", "Kind": 1} in api.diff(name)


def test_exec_socket_on_a_terminal(api: docker.APIClient, name: str) -> None:
    started(api, name)
    made = api.exec_create(name, "sh", stdin=True, tty=True)["Id"]
    sock = api.exec_start(made, tty=True, socket=True)
    api.exec_resize(made, height=33, width=77)
    sock._sock.sendall(b"stty size; exit 9\n")
    seen = b""
    while chunk := sock._sock.recv(4096):
        seen += chunk
    assert b"33 77" in seen
    sock.close()
    wait_for(lambda: api.exec_inspect(made)["ExitCode"] == 9, "the shell did not end")


def test_exec_whose_stdin_ends(api: docker.APIClient, name: str) -> None:
    import socket as sockets

    started(api, name)
    made = api.exec_create(name, "sh -c 'cat; echo over'", stdin=True)["Id"]
    sock = api.exec_start(made, socket=True)
    sock._sock.sendall(b"x\n")
    sock._sock.shutdown(sockets.SHUT_WR)
    said = b""
    while len(said) < 7:
        said += frame(sock)[1]
    assert said == b"x\nover\n"
    sock.close()


def test_privileged_exec(api: docker.APIClient, name: str) -> None:
    started(api, name)
    count = "sh -c 'grep CapEff /proc/self/status'"
    few = api.exec_start(api.exec_create(name, count)["Id"])
    many = api.exec_start(api.exec_create(name, count, privileged=True)["Id"])
    assert int(many.split()[1], 16) > int(few.split()[1], 16)


def test_exec_that_cannot_be(api: docker.APIClient, name: str) -> None:
    started(api, name)
    made = api.exec_create(name, "no-such-program")["Id"]
    assert b"executable file not found" in api.exec_start(made)
    assert api.exec_inspect(made)["ExitCode"] == 127
    with pytest.raises(docker.errors.APIError) as caught:
        api.exec_start(api.exec_create(name, "true", user="nobody-here")["Id"], detach=True)
    assert caught.value.status_code == 400
    api.kill(name)
    api.wait(name)
    with pytest.raises(docker.errors.APIError) as caught:
        api.exec_create(name, "true")
    assert caught.value.status_code == 409


def test_resize(api: docker.APIClient, name: str) -> None:
    started(api, name, "sh -c 'while :; do stty size; sleep 0.05; done'", tty=True)
    api.resize(name, height=44, width=111)
    wait_for(lambda: b"44 111" in api.logs(name), "the terminal did not change its size")


def test_past_events(api: docker.APIClient, name: str) -> None:
    since = time.time() - 1
    identity = started(api, name, "true", labels={"events": name})
    api.wait(name)
    api.remove_container(name)
    until = time.time() + 0.01
    filters = {"label": f"events={name}", "type": "container"}
    found = list(api.events(since=since, until=until, filters=filters, decode=True))
    actions = [event["Action"] for event in found]
    assert actions == ["create", "start", "die", "destroy"]
    assert {event["Actor"]["ID"] for event in found} == {identity}
    assert found[2]["Actor"]["Attributes"]["exitCode"] == "0"
    only = {"container": identity, "event": ["die"]}
    assert len(list(api.events(since=since, until=until, filters=only, decode=True))) == 1


def test_live_events(api: docker.APIClient, name: str) -> None:
    stream = api.events(decode=True, filters={"type": "volume", "event": ["create", "destroy"]})
    seen: list[str] = []

    def listen() -> None:
        for event in stream:
            if event["Actor"]["ID"] == name:
                seen.append(event["Action"])
                if len(seen) == 2:
                    return

    listener = threading.Thread(target=listen)
    listener.start()
    api.create_volume(name)
    api.remove_volume(name)
    listener.join(20)
    stream.close()
    assert seen == ["create", "destroy"]


def test_output_waits_until_the_head_is_read(
    api: docker.APIClient, name: str, ketchd: Ketchd
) -> None:
    """docker-py loses what it reads together with the answer's head."""
    started(api, name, "sleep 600")
    made = api.exec_create(name, "echo out")["Id"]
    body = json.dumps({"Detach": False, "Tty": False}).encode()
    head = (
        f"POST /v1.50/exec/{made}/start HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n"
        f"User-Agent: {api.headers['User-Agent']}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(ketchd.socket))
        sock.sendall(head.encode() + body)
        time.sleep(0.3)
        assert sock.recv(65536).endswith(b"\r\n\r\n")
        output = b""
        while piece := sock.recv(65536):
            output += piece
    assert output == struct.pack(">BxxxI", 1, 4) + b"out\n"
