"""Build graphs (LLB) of clients: what vertices do, what is refused, what others have of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from grpclib.exceptions import GRPCError

from buildkit.buildx import Buildx
from buildkit.driven import Driven, driven
from e2e.ketchd_process import Ketchd
from ketch.llb import exec_messages as pb
from ketch.llb import messages as llb
from llb.graphs import (
    Node,
    action,
    copy,
    definition,
    diff,
    files,
    image,
    merge,
    mkdir,
    mkfile,
    mount,
    node,
    run,
    source,
)

pytestmark = pytest.mark.root
BUSYBOX = image("busybox")


async def listed(build: Driven, ref: str, path: str = "/") -> list[str]:
    return [entry.path for entry in await build.list(ref, path)]


async def solved(build: Driven, outcome: Node) -> str:
    return await build.graph(definition(outcome))


async def test_commands_and_their_outputs(ketchd: Ketchd) -> None:
    scratch_out = run(
        BUSYBOX,
        "echo a >/a; mkdir /out/d; echo $X >/out/d/x; ls /out >/seen; echo t >/tmp/t; exit 3",
        [mount(-1, "/out", 1)],
        meta={"env": ["X=y"], "validExitCodes": [3]},
    )
    second = run(
        scratch_out,
        "cat /in/d/x a >b; cat /in2/x >>b; echo no >/in/no; echo $PATH >>b",
        [mount(1, "/in"), mount(1, "/in2", selector="/d", readonly=True)],
        [scratch_out.at(1)],
    )
    read_only = run(BUSYBOX, "touch /x && exit 9; touch /o/x", [mount(-1, "/o", 0)],
                    root_mount={"output": -1, "readonly": True})  # fmt: skip
    async with driven(Buildx(str(ketchd.socket))) as build:
        out = await solved(build, scratch_out.at(1))
        assert await listed(build, out) == ["d"]
        assert await build.read(out, "/d/x") == b"y\n"
        root = await solved(build, second)
        path = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        assert await build.read(root, "b") == b"y\na\ny\n" + path
        assert await build.read(root, "seen") == b"d\n"
        assert "out" not in await listed(build, root)
        assert await listed(build, await solved(build, read_only)) == ["x"]
        never = run(BUSYBOX, "true", meta={"validExitCodes": [3]})
        with pytest.raises(GRPCError, match="did not complete successfully: exit code: 0"):
            await solved(build, never)


async def test_changes_of_files(ketchd: Ketchd, tmp_path: Path) -> None:
    context = tmp_path / "ctx"
    (context / "dir/sub").mkdir(parents=True)
    (context / "dir/f").write_text("f")
    (context / "dir/sub/g").write_text("g")
    (context / "dir").chmod(0o711)
    (context / "link").symlink_to("dir")
    local = source("local://ctx", local__includepattern='["dir","link"]')
    passwd = mkfile("/etc/passwd", b"daemon:x:1:2::/:/bin/sh\n")
    users = files([action(-1, -1, mkdir=mkdir("/etc")), action(0, mkfile=passwd)])
    owner = llb.ChownOpt(
        user=llb.UserOpt(byName=llb.NamedUser(name="daemon", input=1)),
        group=llb.UserOpt(byID=7),
    )
    changed = files(
        [
            action(-1, -1, mkdir=mkdir("/a/b", 0o700, makeParents=True, timestamp=10**9)),
            action(2, -1, mkfile=mkfile("/a/b/f", b"text", 0o600, owner=owner)),
            action(3, -1, 0, copy=copy("/dir", "/x", createDestPath=True)),
            action(4, -1, 0, copy=copy("/dir", "/y", dirCopyContents=True, createDestPath=True)),
            action(5, -1, 0, copy=copy("/link", "/kept")),
            action(6, -1, 0, copy=copy("/link/f", "/y/h", followSymlink=True, mode=0o640)),
            action(7, -1, 0, copy=copy("/dir/*", "/w/", allowWildcard=True, createDestPath=True,
                                       exclude_patterns=["**/g"])),
            action(8, -1, symlink=llb.FileActionSymlink(oldpath="/a", newpath="/l", timestamp=-1)),
            action(9, -1, mkfile=mkfile("/l/c", b"c")),
            action(10, -1, rm=llb.FileActionRm(path="/y/sub")),
            action(11, 0, 0, copy=copy("/dir", "/x", timestamp=10**18)),
        ],
        local,
        users,
    )  # fmt: skip
    client = Buildx(str(ketchd.socket))
    client.directories = {"ctx": context}
    async with driven(client) as build:
        ref = await solved(build, changed)
        assert await listed(build, ref) == ["a", "kept", "l", "w", "x", "y"]
        (entry,) = await build.list(ref, "/a/b")
        assert (entry.path, entry.mode, entry.uid, entry.gid) == ("f", 0o600, 1, 7)
        assert await build.read(ref, "/a/c") == b"c"
        assert await listed(build, ref, "/x") == ["dir", "f", "sub"]  # once new, once in it
        assert await listed(build, ref, "/x/dir") == ["f", "sub"]
        inner = next(one for one in await build.list(ref, "/x") if one.path == "dir")
        assert (inner.mode & 0o7777, inner.modTime) == (0o711, 10**18)
        assert await listed(build, ref, "/y") == ["f", "h"]
        assert await listed(build, ref, "/w") == ["f", "sub"]
        assert await listed(build, ref, "/w/sub") == []
        kept = next(one for one in await build.list(ref, "/") if one.path == "kept")
        assert kept.linkname == "dir"
        for wrong, told in (
            (action(-1, 0, 0, copy=copy("/dir/f", "/no/f")), "failed to stat /no/f"),
            (action(-1, 0, 0, copy=copy("/none", "/f")), "none"),
            (action(-1, 0, 0, copy=copy("/n*", "/f", allowWildcard=True)), "/n* not found"),
            (action(-1, 0, rm=llb.FileActionRm(path="/none")), "none: no such file"),
            (action(-1, 0, mkdir=mkdir("/a/b")), "no such file"),
        ):
            with pytest.raises(GRPCError, match=told.replace("*", r"\*")):
                await solved(build, files([wrong], local, users))


async def test_merges_and_differences(ketchd: Ketchd) -> None:
    one = files(
        [
            action(-1, mkfile=mkfile("/same", b"1")),
        ]
    )
    base = files([action(0, mkfile=mkfile("/gone", b"x"))], one)
    upper = run(BUSYBOX, "echo n >/bin/new; rm /bin/cat; echo z >/etc/z")
    delta = diff(BUSYBOX, upper)
    other = files([action(-1, -1, mkfile=mkfile("/same", b"2")), action(0, mkdir=mkdir("/d"))])
    computed = diff(base, other)
    async with driven(Buildx(str(ketchd.socket))) as build:
        assert sorted(await listed(build, await solved(build, delta))) == ["bin", "etc"]
        both = await solved(build, merge(BUSYBOX, one, delta))
        names = await listed(build, both, "/bin")
        assert {"new", "sh"} <= set(names)
        assert "cat" not in names
        assert await build.read(both, "/same") == b"1"
        merged = await solved(build, merge(base, computed))
        assert await listed(build, merged) == ["d", "same"]
        assert await build.read(merged, "/same") == b"2"
        assert await listed(build, await solved(build, diff(upper, upper))) == []
        assert await listed(build, await solved(build, merge(one, one))) == ["same"]


async def test_a_graph_becomes_an_image_and_its_steps_are_kept(ketchd: Ketchd) -> None:
    client = Buildx(str(ketchd.socket))
    outcome = run(BUSYBOX, "echo one; echo llb >/made")
    async with client.connected():
        first = await client.graph(definition(outcome), [("moby", {"name": "llb-image"})])
        assert "sh -c echo one; echo llb >/made" in first.names()
        assert "one" in first.logs
        again = await client.graph(definition(outcome), [("moby", {"name": "llb-image"})])
        assert "sh -c echo one; echo llb >/made" in again.cached()
    (found,) = json.loads(ketchd.docker("image", "inspect", "llb-image").stdout)
    assert found["Config"]["WorkingDir"] == "/"
    assert len(found["RootFS"]["Layers"]) == 2
    assert ketchd.docker("run", "--rm", "llb-image", "cat", "/made").stdout == b"llb\n"


def built(graph: Node) -> Node:
    """What a graph comes to that lies in the file ``g`` of another."""
    op = llb.BuildOp(
        builder=-1,
        inputs={"buildkit.llb.definition": llb.MergeInput(input=0)},
        attrs={"llbbuild.filename": "g"},
    )
    return node(llb.Op(build=op), graph)


async def test_graphs_in_files_of_graphs(ketchd: Ketchd, tmp_path: Path) -> None:
    """Also one that holds itself, which would wait for its own outcome for ever."""
    inner = definition(files([action(-1, mkfile=mkfile("/inner", b"1"))])).encode()
    client = Buildx(str(ketchd.socket))
    client.directories = {"graphs": tmp_path}
    itself = built(source("local://graphs"))
    (tmp_path / "g").write_bytes(definition(itself).encode())
    async with driven(client) as build:
        ref = await solved(build, built(files([action(-1, mkfile=mkfile("/g", inner))])))
        assert await listed(build, ref) == ["inner"]
        with pytest.raises(GRPCError, match="needs its own outcome"):
            await solved(build, itself)
        with pytest.raises(GRPCError, match="malformed message"):
            await solved(build, built(files([action(-1, mkfile=mkfile("/g", b"\xff"))])))


async def test_what_commands_are_lent(ketchd: Ketchd) -> None:
    cache = pb.CacheOpt(ID="llb-cache")
    mounts = [
        mount(-1, "/c", mountType=pb.CACHE, cacheOpt=cache),
        mount(-1, "/s", mountType=pb.SECRET, secretOpt=pb.SecretOpt(ID="word", mode=0o400, uid=7)),
        mount(-1, "/n", mountType=pb.SECRET, secretOpt=pb.SecretOpt(ID="none", optional=True)),
        mount(-1, "/t", mountType=pb.TMPFS),
    ]
    env = [pb.SecretEnv(ID="word", name="WORD")]
    first = run(BUSYBOX, "cat /s >/c/kept; echo $WORD >>/c/kept; ls /n", mounts,
                secretenv=env, meta={"validExitCodes": [1]})  # fmt: skip
    second = run(first, "cp /c/kept /kept; stat -c '%u %a' /s >>/kept; ls / >/names", mounts)
    missing = run(BUSYBOX, "true", secretenv=[pb.SecretEnv(ID="none", name="X")])
    client = Buildx(str(ketchd.socket))
    client.secrets = {"word": b"xyzzy\n"}
    async with driven(client) as build:
        ref = await solved(build, second)
        assert await build.read(ref, "/kept") == b"xyzzy\nxyzzy\n7 400\n"
        assert not {"c", "s", "n", "t"} & set(await listed(build, ref))
        with pytest.raises(GRPCError, match="secret none: not found"):
            await solved(build, missing)
        with pytest.raises(GRPCError, match=r"network\.host is not allowed"):
            await solved(build, run(BUSYBOX, "true", network=pb.HOST_NETWORK))
