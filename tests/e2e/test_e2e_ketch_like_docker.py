"""``ketch`` beside the docker command line: same words, same output, same exit code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from cli.docker_cli import recent_docker
from e2e.ketch_program import ketch
from e2e.ketchd_process import Ketchd
from ketch.cli import commands, help

pytestmark = pytest.mark.root
NAME = re.compile(r"\bdocker\b")


@pytest.fixture(scope="module")
def scene(ketchd: Ketchd) -> Iterator[Ketchd]:
    """Objects of every kind, the same for both clients."""
    if recent_docker() is None:
        pytest.skip("needs the docker CLI, version 28 or newer")
    run = ketchd.docker
    before = set(ketchd.out("ps", "-aq").split())
    port = 20_000 + 10 * ketchd.octet  # of no other run's
    run("run", "-d", "--name", "like-up", "--label", "x=y", "-v", "like-vol:/v",
        "-p", f"{port}:80", "-p", f"{port + 1}-{port + 2}:81-82/udp",
        "-p", f"{port + 3}-{port + 5}:18470-18472", "--expose", "90-92",
        "busybox", "sleep", "900")  # fmt: skip
    run("run", "--name", "like-down", "busybox", "sh", "-c", "echo 1; echo 2 >&2; exit 3", code=3)
    run("build", "-t", "like/built", "-", input=b"FROM busybox\nRUN echo x >/made\n")
    run("create", "--name", "like-made", "busybox", "echo", "a long command line, longer than most")
    run("tag", "busybox", "like/image:one")
    run("volume", "create", "--label", "a=b", "like-other")
    yield ketchd
    made = set(ketchd.out("ps", "-aq").split()) - before  # what cannot start is made and stays
    run("rm", "-fv", *made)
    run("volume", "rm", "like-vol", "like-other")
    run("rmi", "like/image:one", "like/built")


def plain(text: str) -> str:
    """Without what differs by nature: the program's name and ages."""
    text = NAME.sub("ketch", text)
    text = re.sub(r"Less than a second|About a minute|\d+ (seconds?|minutes?)", "AGE", text)
    return re.sub(r" {2,}", "  ", text).strip()


def both(scene: Ketchd, line: str) -> tuple[tuple[int, str, str], tuple[int, str, str]]:
    """What docker and ketch answer."""
    words = shlex.split(line)
    theirs = scene.docker(*words, code=None)
    mine = ketch(scene, *words, code=None)
    return tuple(  # type: ignore[return-value]
        (done.returncode, plain(done.stdout.decode()), plain(done.stderr.decode()))
        for done in (theirs, mine)
    )


LISTS = r"""
ps
ps -a
ps -aq
ps -aq --no-trunc
ps -a --no-trunc
ps -as
ps -n 1
ps -l
ps -a --format json
ps -a --format '{{.Names}} {{.Mounts}} {{.LocalVolumes}} {{.Networks}} {{.Ports}} {{.Label "x"}}'
ps -a --format 'table {{.Names}}\t{{.State}}\t{{upper .Image}}\t{{.Size}}\t{{.CreatedAt}}'
ps -l --format raw
ps -aq --format '{{.ID}}'
ps -q --filter name=like-up
ps -aq --filter status=exited --filter label=x
ps -f foo=bar
ps --filter x
ps -l --format '{{.Foo}}'
ps -l --format '{{.ID'
ps -l --format '{{index .Names 99}}'
images
images -q
images -q --no-trunc
images --digests
images like/image
images --format '{{.Repository}}:{{.Tag}} {{.Size}} {{.CreatedAt}}'
images --format 'table {{.Repository}}\t{{.ID}}'
images --format '{{.Foo}}'
volume ls
volume ls -q
volume ls --format json
volume ls --format '{{.Name}} {{.Labels}} {{.Label "a"}} {{.Mountpoint}}'
volume ls -f foo=bar
network ls
network ls -q --no-trunc
network ls --format json
network ls --format 'table {{.Name}}\t{{.IPv4}}\t{{.Internal}}'
history busybox
history -q --no-trunc busybox
history -H=false busybox
history --format json busybox
system df
system df -v
system df -v --format table
system df --format json
system df --format 'table {{.Type}}\t{{.Reclaimable}}'
inspect like-up
inspect busybox like-vol bridge
inspect -f '{{.State.Status}} {{.Name}} {{.HostConfig.Binds}} {{json .Mounts}}' like-up
inspect -f json like-down
inspect -f '{{.Name}}' /like-up
logs /like-down
inspect --type network like-up
inspect like-none like-up -f '{{.Name}}'
inspect -f '{{.' like-up
image inspect busybox
volume inspect like-vol
network inspect bridge
container inspect -s like-down
port like-up
port like-up 80
port like-up 99
diff like-up
top like-up -o comm
logs like-down
logs -n 1 -t like-down
logs --since 1h --details like-down
logs --until 1h like-down
logs like-none
logs -n foo like-down
wait like-down
info -f '{{.Driver}} {{.SecurityOptions}} {{.ServerVersion}}'
version -f '{{.Server.Version}} {{.Server.Arch}}'
events --since 1h --until 0s --filter container=like-down
events --since 1h --until 0s --filter container=like-down --format json
events --since 1h --until 0s --filter container=like-down --format '{{.Type}} {{.Action}} {{.ID}}'
"""
FAULTS = r"""
container attach
container port
commit
image rm
image rmi
image tag a
create --pid x busybox
create --uts x busybox
create --userns x busybox
create --cgroupns x busybox
create --network '' busybox
ps --nope
ps -X
ps foo
ps -n foo
inspect
rename a
rename like-none x1
rename like-up like-down
exec like-up
exec like-up nope
exec like-up /etc
exec like-down ls
exec -w /nope like-up ls
exec -it like-up sh
run
run --rm=maybe busybox
run --memory foo busybox
run --cpus x busybox
run --name
run -p foo busybox
run -p 80/foo busybox
run -p 99999:80 busybox
run -p '' busybox
run -p 1.2.3:80:80 busybox
run -p '[x]:80:80' busybox
run -p '[fe80::1%lo]:80:80' busybox
run --cidfile /like-none/x busybox
run --rm --device /like-none busybox
run --mount foo busybox
run --mount type=bind busybox
run --mount type=bind,foo=bar busybox
run --mount type=bind,source=/like-none,target=/y busybox
run --mount type=tmpfs,target=/y,volume-nocopy busybox
run --network a=b busybox
run --network like-none busybox
run --restart foo busybox
run -d --rm --restart always busybox
run -d -a stdout busybox
run -it busybox
run -a foo busybox
run --ulimit foo busybox
run --ulimit nofile=5:3 busybox
run --device a:b:c:d busybox
run --device-cgroup-rule foo busybox
run --device-read-bps /dev/sda:x busybox
run --blkio-weight x busybox
run --env-file /like-none busybox
run --label-file /like-none busybox
run --dns foo busybox
run --add-host foo:bar busybox
run --link a:b:c busybox
run --mac-address zz busybox
run --gpus foo=bar busybox
run --security-opt foo busybox
run --security-opt seccomp=/like-none busybox
run --pull foo busybox
run --name like-up busybox
create --name like-up busybox
create --cidfile /etc/hostname busybox
create -p foo busybox
run --cidfile /etc/hostname busybox
run --network like-none --network none busybox
run --rm --network-alias x busybox
run --rm --ip 1.2.3.4 busybox
run --rm --volumes-from like-none busybox
run --rm --gpus all busybox
run --rm --health-interval -1s busybox
run --rm --health-cmd true --no-healthcheck busybox
run --rm -a stderr busybox sh -c 'echo a; echo b >&2'
run --rm busybox nope
run --rm busybox /etc
run --stop-timeout x busybox
start
start like-none
attach like-down
kill like-down
stop -t x like-up
logs --since foo like-up
cp like-up:/a like-up:/b
cp a b
rm like-none
rm 'like-up?force=1'
stop 'a b'
logs a/b
logs ''
exec '' ls
volume rm ''
port 'like-up/json?x='
rm like-up
rmi like-none
volume rm like-none
volume create -d foo x
network rm like-none -f
system prune -f --volumes --filter until=1h
load -i /like-none
-l foo ps
-D=maybe ps
"""


@pytest.mark.parametrize("line", [*LISTS.split("\n")[1:-1], *FAULTS.split("\n")[1:-1]])
def test_the_same_answer(scene: Ketchd, line: str) -> None:
    theirs, mine = both(scene, line)
    if line.startswith("images"):  # docker has the names of one image in any order
        theirs, mine = (
            (code, "\n".join(sorted(text.splitlines())), fault)
            for code, text, fault in (theirs, mine)
        )
    assert mine[0] == theirs[0]
    for here, there in zip(
        mine[1:], theirs[1:], strict=True
    ):  # lines: a difference is read at once
        assert here.splitlines() == there.splitlines()


def sections() -> list[str]:
    """Commands that docker has too."""
    extra = ("bootstrap", "completion", "why", "execs", "exec-kill", "dial-stdio", "buildx")
    return [name for name in commands.COMMANDS if not set(name.split()) & set(extra)]


def test_every_flag_of_docker(scene: Ketchd) -> None:
    """By its help: name, short form, and the word for its value."""
    missing = []
    for name in sections():
        page = scene.docker(*name.split(), "--help").stdout.decode()
        flags = re.findall(r"^ {2}(?:-(\w), |    )--([\w-]+)(?: ([\w-]+))?  ", page, re.M)
        mine = {flag.name: flag for flag in help.find(name, commands.module_of(name))[1]}
        for short, flag, type_name in flags:
            if flag == "help":
                continue
            if flag not in mine or mine[flag].short != short:
                missing.append(f"{name} --{flag}")
            elif "context" not in name and mine[flag].type != type_name:
                missing.append(f"{name} --{flag} {type_name}")
    assert not missing


def test_every_command_of_docker_is_there_or_refused_with_a_reason(scene: Ketchd) -> None:
    page = scene.docker("--help").stdout.decode()
    names = re.findall(r"^ {2}([a-z]+)\*? {2,}", page, re.M)
    assert len(names) > 50
    for name in names:
        known = name in commands.COMMANDS or name in commands.GROUPS
        if known:
            continue
        done = ketch(scene, name, "ls", code=1)
        assert f"ketch: '{name}' is not supported: " in done.stderr.decode()


def test_what_of_the_history_is_buildxs_is_refused_by_name(scene: Ketchd) -> None:
    for verb in ("export", "import", "open", "trace"):
        done = ketch(scene, "build", "history", verb, code=1)
        assert f"ketch: 'builder history {verb}' is not supported: " in done.stderr.decode()


def test_every_page_of_help_can_be_shown(scene: Ketchd) -> None:
    for name in commands.COMMANDS:
        page = help.of_command(name, commands.module_of(name))
        assert page.startswith(f"Usage:  ketch {name}")
    shown = ketch(scene, "ps", "--help").stdout
    assert shown == ketch(scene, "help", "ps").stdout
    assert b"Aliases:\n  ketch container list, ketch container ls" in shown
    assert b"Common Commands:" in ketch(scene).stdout
    assert b"Did you mean 'ketch pull'?" in ketch(scene, "pul", code=1).stderr
    assert b"(did you mean --format?)" in ketch(scene, "ps", "--fromat", code=125).stderr
