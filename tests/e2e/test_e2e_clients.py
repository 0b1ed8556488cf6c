"""Other clients: older API versions of the CLI, and docker-py."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import docker
import pytest

from e2e.ketchd_process import Ketchd

pytestmark = pytest.mark.root


@pytest.mark.parametrize("version", ["1.25", "1.32", "1.40", "1.41", "1.43", "1.44", "1.47"])
def test_the_cli_at_older_versions(
    ketchd: Ketchd, monkeypatch: pytest.MonkeyPatch, name: str, version: str
) -> None:
    monkeypatch.setenv("DOCKER_API_VERSION", version)
    server = json.loads(ketchd.out("version", "--format", "json"))
    assert server["Client"]["ApiVersion"] == version
    done = ketchd.docker("run", "--name", name, "busybox", "sh", "-c", "echo a; echo b >&2; exit 3", code=3)  # fmt: skip # noqa: E501
    assert (done.stdout, done.stderr) == (b"a\n", b"b\n")
    assert ketchd.docker("logs", name).stdout == b"a\n"
    assert ketchd.docker("run", "--rm", "-i", "busybox", "cat", input=b"x").stdout == b"x"
    assert json.loads(ketchd.out("inspect", name))[0]["State"]["ExitCode"] == 3
    for words in (("ps", "-a"), ("images",), ("info",), ("network", "ls"), ("system", "df")):
        assert ketchd.out(*words)
    ketchd.docker("rm", name)


@pytest.fixture
def client(ketchd: Ketchd) -> Iterator[docker.DockerClient]:
    found = docker.DockerClient(base_url=f"unix://{ketchd.socket}", timeout=120)
    yield found
    found.close()


def test_run_and_logs(client: docker.DockerClient) -> None:
    assert client.containers.run("busybox", ["echo", "hi"], remove=True) == b"hi\n"
    with pytest.raises(docker.errors.ContainerError) as caught:
        client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 5"], remove=True)
    assert caught.value.exit_status == 5
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("nope")
    with pytest.raises(docker.errors.NotFound):
        client.containers.get("nope")


def test_exec_attach_and_archives(client: docker.DockerClient, name: str) -> None:
    container = client.containers.run("busybox", ["sleep", "600"], detach=True, name=name)
    code, output = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 2"], demux=True)
    assert (code, output) == (2, (b"out\n", b"err\n"))
    code, stream = container.exec_run(["sh", "-c", "seq 3"], stream=True)
    assert b"".join(stream) == b"1\n2\n3\n"
    chunks, stat = container.get_archive("/etc/passwd")
    assert stat["name"] == "passwd"
    assert b"root:x:0:0" in b"".join(chunks)
    assert container.put_archive("/tmp", b"\0" * 10240)
    stats = container.stats(stream=False)
    assert stats["memory_stats"]["usage"] > 0
    assert container.top()["Processes"]
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.stop(timeout=0)
    assert container.wait()["StatusCode"] == 137


def test_socket_attach(client: docker.DockerClient, name: str) -> None:
    container = client.containers.create("busybox", ["cat"], stdin_open=True, tty=True, name=name)
    channel = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    channel._sock.sendall(b"ping\r")
    got = b""
    while b"ping\r\nping" not in got:
        chunk = channel._sock.recv(64)
        assert chunk, got
        got += chunk
    container.kill()
    channel.close()


def test_build_and_images(client: docker.DockerClient) -> None:
    dockerfile = io.BytesIO(b"FROM busybox\nRUN echo x > /x\nCMD cat /x\n")
    image, lines = client.images.build(fileobj=dockerfile, tag="py:1", rm=True)
    assert any("Step 2/3" in line.get("stream", "") for line in lines)
    assert client.containers.run("py:1", remove=True) == b"x\n"
    assert "py:1" in image.tags
    assert image.history()
    client.images.remove("py:1")


def test_volumes_networks_events(client: docker.DockerClient, name: str) -> None:
    volume = client.volumes.create(name=name, labels={"a": "b"})
    assert client.volumes.list(filters={"label": "a=b"}) == [volume]
    volume.remove()
    network = client.networks.create(name)
    assert client.networks.list(names=[name]) == [network]
    network.remove()
    assert client.ping()
    assert client.info()["OSType"] == "linux"
    assert client.df()["Images"]
