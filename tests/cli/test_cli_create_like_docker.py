"""What ``ketch create`` asks of the engine is what ``docker create`` asks, flag by flag."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cli.docker_cli import recent_docker

KETCH = str(Path(sys.executable).parent / "ketch")
PONG = b"HTTP/1.1 200 OK\r\nApi-Version: 1.50\r\nOstype: linux\r\nContent-Length: 2\r\n\r\nOK"


class Engine:
    """Answers a client that creates a container, and keeps what it was asked for."""

    def __init__(self, path: Path) -> None:
        self.bodies: list[tuple[str, Any]] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(16)
        self.path = path
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            while line := stream.readline():
                method, path, _ = line.decode().split(" ")
                length = 0
                while (header := stream.readline().strip()) != b"":
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.partition(b":")[2])
                body = stream.read(length)
                answer = b'{"Id":"' + b"0" * 64 + b'","Warnings":[]}'
                if "/_ping" in path:
                    stream.write(PONG if method == "GET" else PONG[:-2])
                else:
                    if "/create" in path:
                        self.bodies.append((path.partition("?")[2], json.loads(body)))
                    stream.write(
                        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
                        b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer)
                    )
                stream.flush()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    if recent_docker() is None:
        pytest.skip("needs the docker CLI, version 28 or newer")
    return Engine(tmp_path_factory.mktemp("engine") / "s.sock")


def small(value: Any) -> Any:
    """Without what is empty: absent, null and zero mean the same to an engine."""
    if isinstance(value, dict):
        kept = {key: small(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, "", 0, False, [], {})}
    return [small(item) for item in value] if isinstance(value, list) else value


def asked(engine: Engine, program: str, words: list[str], folder: Path) -> tuple[str, Any]:
    host = f"unix://{engine.path}"
    env = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "DOCKER_HOST": host, "KETCH_HOST": host,
        "GIVEN": "from the environment",
    }  # fmt: skip
    engine.bodies.clear()
    done = subprocess.run(
        [program, "create", *words], env=env, cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    query, body = engine.bodies[-1]
    return query, small(body)


LINES = r"""
x
x cmd --flag -v
--name n --platform linux/amd64 x
-it x sh
-i x
-t x
-a stdin -i x
-a stdout -a stderr x
-a stdin -a stdout -i -t x
--add-host a:1.2.3.4 --add-host b=::1 --add-host c:host-gateway --add-host 'd:[::1]' x
--annotation a=b --annotation c x
--blkio-weight 300 --blkio-weight-device /dev/sda:200 x
--device-read-bps /dev/sda:1mb --device-write-bps /dev/sda:2k x
--device-read-iops /dev/sda:100 --device-write-iops /dev/sda:200 x
--cap-add NET_ADMIN --cap-drop all x
--cgroup-parent /p --cgroupns private x
--cpu-period 1000 --cpu-quota 2000 --cpu-rt-period 3 --cpu-rt-runtime 2 -c 512 x
--cpus 1.5 --cpuset-cpus 0-1 --cpuset-mems 0 x
--cpus .25 x
--device /dev/null x
--device /dev/null:/dev/x x
--device /dev/null:r x
--device /dev/null:/dev/x:rw x
--device vendor.com/class=name --device /dev/null x
--device-cgroup-rule 'c 1:3 rwm' x
--dns 1.1.1.1 --dns ::1 --dns-option ndots:2 --dns-search example.com --dns-search . x
--dns-opt timeout:1 x
-h host --domainname dom x
--entrypoint prog x arg
--entrypoint '' x
-e A=b -e GIVEN -e ABSENT -e EMPTY= x
--env-file {folder}/env -e LAST=1 x
--expose 80 --expose 90-92/udp x
--gpus all x
--gpus 2 x
--gpus '"device=0,1"' x
--gpus 'driver=nvidia,"capabilities=utility,compute",count=1' x
--group-add a --group-add 5 x
--init x
--init=false x
--ip 10.1.2.3 --network n x
--ip6 fd00::5 --network n x
--ipc host --pid host --uts host --userns host x
--isolation default x
-l a=b -l c --label-file {folder}/labels x
--link a:b --link c x
--link a --network n x
--log-driver json-file --log-opt max-size=1m --log-opt tag x
--mac-address 92:d0:c6:0a:29:33 x
-m 64m --memory-reservation 32M --memory-swap -1 --memory-swappiness 10 x
-m 1.5g --memory-swap 3GiB x
--memory-swappiness 0 x
--mount type=bind,source=/a,target=/b x
--mount type=bind,src=/a,dst=/b,ro,bind-propagation=rslave x
--mount type=bind,source=/a,target=/b,readonly=false,consistency=cached x
--mount type=bind,source=/a,target=/b,bind-recursive=disabled x
--mount type=bind,source=/a,target=/b,ro,bind-recursive=writable x
--mount type=bind,source=/a,target=/b,ro,bind-propagation=rprivate,bind-recursive=readonly x
--mount type=bind,source=./here,target=/b x
--mount source=v,target=/b x
--mount type=volume,source=v,target=/b,volume-nocopy,volume-label=a=b,volume-driver=local x
--mount 'type=volume,target=/b,volume-opt=type=nfs,"volume-opt=o=addr=1.2.3.4,rw"' x
--mount type=volume,source=v,target=/b,volume-subpath=sub x
--mount type=tmpfs,target=/b,tmpfs-size=1m,tmpfs-mode=1770 x
--mount type=image,source=img,target=/b,image-subpath=sub x
--network host x
--network none x
--network container:abc x
--network n --network-alias a --network-alias b x
--net n --net-alias a x
--network name=n,alias=a,ip=10.1.2.3,driver-opt=k=v,mac-address=92:d0:c6:0a:29:33 x
--network name=n,ip6=fd00::5,gw-priority=7 x
--network name=n,alias=a --network m x
--oom-kill-disable --oom-score-adj 100 x
--oom-kill-disable=false x
--pids-limit 50 x
--pids-limit -1 x
--privileged --read-only x
-p 80 x
-p 8080:80 -p 127.0.0.1:53:53/udp -p 127.0.0.1::90 x
-p 8000-8002:80-82 x
-p '[::1]:81:81' x
-p target=80,published=8080,protocol=udp x
-P x
--pull never x
--restart always x
--restart on-failure:3 x
--restart unless-stopped x
--rm x
--runtime r x
--security-opt no-new-privileges --security-opt seccomp=unconfined x
--security-opt no-new-privileges=true --security-opt label=disable x
--security-opt seccomp={folder}/profile x
--security-opt systempaths=unconfined x
--security-opt apparmor:unconfined x
--shm-size 32m x
--stop-signal SIGINT --stop-timeout 7 x
--stop-timeout 0 x
--storage-opt size=1g x
--sysctl net.core.somaxconn=10 x
--tmpfs /t --tmpfs /u:size=1m,mode=700 x
--ulimit nofile=10:20 --ulimit nproc=5 --ulimit core=-1 x
-u 1000:1000 -w /w x
-v /a:/b -v /a:/c:ro,z -v vol:/d -v /anon -v ./here:/e x
--volume-driver d -v vol:/x x
--volumes-from a --volumes-from b:ro x
--health-cmd 'exit 0' --health-interval 5s --health-retries 3 x
--health-start-period 1m --health-start-interval 2s --health-timeout 500ms x
--no-healthcheck x
--cidfile {folder}/cid-{program} x
"""


@pytest.mark.parametrize("line", LINES.split("\n")[1:-1])
def test_the_same_request(engine: Engine, tmp_path: Path, line: str) -> None:
    (tmp_path / "env").write_text("# comment\nONE=1\n  TWO=two words \nGIVEN\nABSENT\n")
    (tmp_path / "labels").write_text("from=file\nalone\n")
    (tmp_path / "profile").write_text('{ "defaultAction": "SCMP_ACT_ALLOW",\n "syscalls": [] }')
    results = []
    for name, program in (("docker", recent_docker() or ""), ("ketch", KETCH)):
        words = shlex.split(line.format(folder=tmp_path, program=name))
        query, body = asked(engine, program, words, tmp_path)
        host = body["HostConfig"]
        host.pop("ContainerIDFile", None)
        for name_, nothing in (("ConsoleSize", [0, 0]), ("MemorySwappiness", -1)):
            if host.get(name_) == nothing:
                del host[name_]
        body.get("Env", []).sort()
        host.get("Binds", []).sort()
        host.get("Ulimits", []).sort(key=lambda limit: str(limit["Name"]))
        results.append((sorted(query.split("&")), body))
    assert results[1] == results[0]
