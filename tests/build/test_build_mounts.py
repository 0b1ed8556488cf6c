"""RUN --mount with real processes: binds, caches, secrets, agents, and what is left of them."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import msgspec
import pytest

from build.real import NEEDS, Bench
from ketch.build.request.options import BuildOptions
from ketch.engine.builder.cache.gc import Amounts, Collection, Rule
from ketch.engine.builder.cache.mounts import MountKey, Owner
from ketch.errors import InvalidParameter

pytestmark = NEEDS


async def test_bind_of_the_context_is_read_only_and_leaves_nothing(bench: Bench) -> None:
    built = await bench.build(
        "FROM busybox\n"
        "RUN --mount=target=/src cat /src/a.txt && ! touch /src/x 2>/dev/null && echo read-only\n",
        {"a.txt": b"content\n"},
    )
    assert "content\n" in bench.text
    assert "read-only\n" in bench.text
    assert len(built["layers"]) == 1


async def test_what_is_written_to_a_writable_bind_is_thrown_away(bench: Bench) -> None:
    built = await bench.build(
        "FROM busybox\n"
        "RUN --mount=target=/src,rw echo more >> /src/a.txt && cat /src/a.txt\n"
        "RUN --mount=target=/src cat /src/a.txt > /copy\n",
        {"a.txt": b"content\n"},
    )
    assert "content\nmore\n" in bench.text
    assert bench.read(built["layers"][1], "copy") == b"content\n"


async def test_bind_from_a_stage_and_of_a_part_of_it(bench: Bench) -> None:
    await bench.build(
        "FROM busybox AS made\nRUN mkdir -p /out/deep && echo built > /out/deep/x\n"
        "FROM busybox\nRUN --mount=from=made,source=/out/deep,target=/in cat /in/x\n"
    )
    assert "built\n" in bench.text


async def test_a_changed_bind_is_another_step(bench: Bench) -> None:
    text = "FROM busybox\nRUN --mount=source=a.txt,target=/a cat /a > /copy\n"
    await bench.build(text, {"a.txt": b"1", "b.txt": b"1"})
    await bench.build(text, {"a.txt": b"1", "b.txt": b"2"})
    assert "Using cache" in bench.text
    built = await bench.build(text, {"a.txt": b"2", "b.txt": b"2"})
    assert bench.read(built["layers"][1], "copy") == b"2"


async def test_links_out_of_the_context_show_nothing_of_the_host(bench: Bench) -> None:
    """A source that is a link is looked up inside the context (scorecard A9)."""
    links = {"escape": ("link", "../../../../../../etc/hostname"), "a.txt": b""}
    await bench.build(
        "FROM busybox\nRUN --mount=source=escape,target=/h cat /h\n", links, fails=True
    )
    assert "not found" in bench.outputs[-1].error or "does not exist" in bench.outputs[-1].error


async def test_a_cache_is_kept_between_builds_and_in_no_layer(bench: Bench) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,target=/c/d sh -c 'ls /c/d; echo x > /c/d/{}'\n"
    built = await bench.build(text.replace("{}", "one"))
    assert len(built["layers"]) == 1
    await bench.build(text.replace("{}", "two"))
    assert "\none\n" in bench.text


async def test_a_cache_begins_with_what_from_names(bench: Bench) -> None:
    await bench.build(
        "FROM busybox AS seed\nRUN mkdir /s && echo seeded > /s/x\n"
        "FROM busybox\nRUN --mount=type=cache,id=i,from=seed,source=/s,target=/c cat /c/x\n"
    )
    assert "seeded\n" in bench.text


async def test_a_cache_that_was_filled_in_part_is_filled_anew(bench: Bench) -> None:
    """A copy that fails, or is cancelled, once left what it had copied as the whole cache."""
    caches = bench.builder._caches
    owner = Owner(0o755, 0, 0)

    async def half(path: str) -> None:
        Path(path, "half").touch()
        raise InvalidParameter("the disk is tired")

    async def whole(path: str) -> None:
        Path(path, "whole").touch()

    with pytest.raises(InvalidParameter):
        async with caches.lease(MountKey("i"), "shared", owner, half):
            pytest.fail("no step may see it")
    assert list(caches.all()) == []
    async with caches.lease(MountKey("i"), "shared", owner, whole) as path:
        assert os.listdir(path) == ["whole"]


async def test_a_build_without_the_cache_begins_caches_anew(bench: Bench) -> None:
    """Once, as soon as no other build has them; what it leaves is there for the next one."""
    caches = bench.builder._caches

    async def step(name: str, renewed: set[str] | None = None, sharing: str = "shared") -> str:
        owner = Owner(0o755, 0, 0)
        async with caches.lease(MountKey("i"), sharing, owner, renewed=renewed) as path:
            Path(path, name).touch()
            return " ".join(sorted(os.listdir(path)))

    assert [await step("a"), await step("b")] == ["a", "a b"]
    mine: set[str] = set()
    assert [await step("c", mine), await step("d", mine, "locked")] == ["c", "c d"]
    async with caches.lease(MountKey("i"), "shared", Owner(0o755, 0, 0)) as path:
        waits = [
            asyncio.create_task(step("e", mine := set())),
            asyncio.create_task(step("f", mine)),
        ]
        for _ in range(10):
            await asyncio.sleep(0)
        assert sorted(os.listdir(path)) == ["c", "d"]
        assert not any(task.done() for task in waits)
    assert sorted(await asyncio.gather(*waits))[0] in ("e", "f")
    assert await step("g") == "e f g"


async def test_who_shares_a_cache_waits_until_it_is_filled(bench: Bench) -> None:
    caches = bench.builder._caches
    owner = Owner(0o750, 3, 4)
    filling, go = asyncio.Event(), asyncio.Event()

    async def fill(path: str) -> None:
        filling.set()
        await go.wait()
        Path(path, "seed").touch()

    async def seen() -> list[str]:
        async with caches.lease(MountKey("i"), "shared", owner, fill) as path:
            info = os.stat(path)
            assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o750, 3, 4)
            return os.listdir(path)

    first = asyncio.create_task(seen())
    await filling.wait()
    second = asyncio.create_task(seen())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not second.done()
    go.set()
    assert await asyncio.gather(first, second) == [["seed"], ["seed"]]
    assert caches._filling == {}


async def test_two_steps_never_hold_a_locked_cache_at_once(bench: Bench) -> None:
    step = (
        "RUN --mount=type=cache,target=/c,sharing=locked "
        "mkdir /c/busy && sleep 0.2 && rm -r /c/busy && touch /{0}\n"
    )
    stages = "".join(f"FROM busybox AS {name}\n{step.format(name)}" for name in "ab")
    await bench.build(f"{stages}FROM busybox\nCOPY --from=a /a /\nCOPY --from=b /b /\n")


async def test_steps_that_want_the_same_locked_caches_never_wait_in_a_ring(bench: Bench) -> None:
    """A cache that is mounted twice is one directory; with ``locked`` it waited for itself."""

    def step(*names: str) -> str:
        mounts = (f"--mount=type=cache,target=/{n},id={n[0]},sharing=locked" for n in names)
        return f"RUN {' '.join(mounts)} echo {names[0]} > /{names[-1]}/{names[0]} && ls /{names[0]}"

    steps = [step("a", "b"), step("b", "a"), step("c", "c2")]
    stages = "".join(f"FROM busybox AS s{n}\n{text}\n" for n, text in enumerate(steps))
    last = "FROM busybox\n" + "".join(f"RUN --mount=from=s{n},target=/m true\n" for n in range(3))
    async with asyncio.timeout(60):
        await bench.build(f"{stages}{last}")
    assert "\nc\n" in bench.text


async def test_who_waits_for_a_cache_takes_no_slot(bench: Bench) -> None:
    """Steps that waited for one locked cache kept all others from running."""
    caches, slots = bench.builder._caches, bench.builder._slots
    step = "RUN --mount=type=cache,target=/c,id=i,sharing=locked touch /{0}\n"
    stages = "".join(f"FROM busybox AS s{n}\n{step.format(n)}" for n in range(slots._value))
    last = "FROM busybox\n" + "".join(f"COPY --from=s{n} /{n} /\n" for n in range(slots._value))
    async with asyncio.timeout(60):
        async with caches.lease(MountKey("i"), "locked", Owner(0o755, 0, 0)):
            waiting = asyncio.create_task(bench.build(f"{stages}{last}"))
            while len(caches._changed._waiters) < slots._value:  # type: ignore[attr-defined]
                await asyncio.sleep(0)
            assert not slots.locked()
        await waiting


async def test_private_caches_are_apart(bench: Bench) -> None:
    step = (
        "RUN --mount=type=cache,target=/c,sharing=private "
        "touch /c/{0} && sleep 0.3 && ls /c | wc -l > /{0}\n"
    )
    stages = "".join(f"FROM busybox AS {name}\n{step.format(name)}" for name in "ab")
    built = await bench.build(f"{stages}FROM busybox\nCOPY --from=a /a /\nCOPY --from=b /b /\n")
    assert [bench.read(built["layers"][n], name).strip() for n, name in ((1, "a"), (2, "b"))] == [
        b"1",
        b"1",
    ]


async def test_secrets_are_seen_by_the_step_and_by_nothing_else(bench: Bench) -> None:
    secret = b"do-not-keep-me"
    options = BuildOptions(secrets={"token": secret})
    built = await bench.build(
        "FROM busybox\n"
        "RUN --mount=type=secret,id=token,env=TOKEN,target=/run/secrets/token,mode=0440 "
        "test $(cat /run/secrets/token) = $TOKEN && stat -c %a /run/secrets/token && touch /done\n",
        options=options,
    )
    assert "440\n" in bench.text
    assert bench.names(built["layers"][1]) == ["done"]
    await asyncio.gather(*bench.builder._background._tasks)  # the trash is emptied
    for path in bench.folder.rglob("*"):
        if path.is_file():
            assert secret not in path.read_bytes(), path


async def test_a_required_secret_that_is_not_there(bench: Bench) -> None:
    text = "FROM busybox\nRUN --mount=type=secret,id=x{} test ! -e /run/secrets/x\n"
    await bench.build(text.replace("{}", ""))
    await bench.build(text.replace("{}", ",required"), fails=True)
    assert "secret x: not found" in bench.outputs[-1].error


class Agent:
    """A client that offers an SSH agent: whatever is asked is answered backwards."""

    async def secret(self, id: str) -> bytes | None:
        return None

    async def has_agent(self, id: str) -> bool:
        return id == "default"

    async def agent(self, id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ours, theirs = socket.socketpair()
        self.serving = asyncio.create_task(self._serve(theirs))
        return await asyncio.open_connection(sock=ours)

    async def _serve(self, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.write((await reader.readline()).strip()[::-1])
        writer.close()


async def test_an_agent_is_reached_through_its_socket(bench: Bench) -> None:
    """The step waits while the test, in place of a program in it, talks to the socket."""
    building = asyncio.create_task(
        bench.build(
            "FROM busybox\nRUN --mount=type=ssh --mount=type=cache,target=/c "
            "test -S $SSH_AUTH_SOCK && echo at $SSH_AUTH_SOCK && touch /c/there && "
            "until test -e /c/go; do sleep 0.05; done\n",
            offers=Agent(),
        )
    )
    caches, secrets = bench.folder / "data/build-caches", bench.folder / "run/build-secrets"
    async with asyncio.timeout(60):
        while not (there := list(caches.glob("*/there"))):
            assert not building.done()
            await asyncio.sleep(0.02)
    (path,) = secrets.glob("*/*")
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"abc\n")
    assert await reader.read() == b"cba"
    writer.close()
    there[0].with_name("go").touch()
    await building
    assert "at /run/buildkit/ssh_agent.0\n" in bench.text
    assert list(secrets.iterdir()) == []


async def test_tmpfs(bench: Bench) -> None:
    built = await bench.build(
        "FROM busybox\n"
        "RUN --mount=type=tmpfs,target=/t,size=1m touch /t/x && grep ' /t ' /proc/mounts\n"
    )
    assert "tmpfs" in bench.text
    assert "size=1024k" in bench.text
    assert len(built["layers"]) == 1


async def test_directories_made_next_to_a_mount_point_stay(bench: Bench) -> None:
    built = await bench.build(
        "FROM busybox\nRUN --mount=type=cache,target=/x/y/z touch /x/y/kept /x/y/z/gone\n"
    )
    assert bench.names(built["layers"][1]) == ["x", "x/y", "x/y/kept"]


async def test_a_linked_layer_outlives_another_base(bench: Bench) -> None:
    text = "FROM busybox AS base\nRUN echo {} > /b\nFROM base\nCOPY --link a.txt /deep/a\n"
    first = await bench.build(text.replace("{}", "1"), {"a.txt": b"a"})
    second = await bench.build(text.replace("{}", "2"), {"a.txt": b"a"})
    assert first["layers"][-1] == second["layers"][-1]
    assert first["layers"][1] != second["layers"][1]
    assert bench.names(second["layers"][-1]) == ["deep", "deep/a"]


async def test_the_daemons_own_rules_bound_the_caches(bench: Bench) -> None:
    """What was used longest ago goes first, until the rule's amount is kept."""
    caches = bench.builder._caches
    for name in ("old", "middle", "new"):
        async with caches.lease(MountKey(name), "shared", Owner(0o755, 0, 0)) as path:
            Path(path, "data").write_bytes(bytes(300_000))
    only = {"type": ("exec.cachemount",)}
    rules = (
        Rule(filters={"type": ("regular",)}),
        Rule(filters=only, unused_for=60 * 10**9),
        Rule(filters=only, amounts=Amounts(max_used=700_000)),
    )
    for collection, left in (
        (Collection(enabled=False, rules=rules), {"old", "middle", "new"}),
        (Collection(rules=rules), {"middle", "new"}),
        (Collection(amounts=Amounts(reserved=400_000)), {"new"}),
    ):
        msgspec.structs.force_setattr(bench.parts.config, "build_cache", collection)
        await bench.builder.cache.collect()
        assert {mount.id for mount in caches.all()} == left
