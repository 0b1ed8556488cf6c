"""Sends fuzzed requests, many at a time, and says what a server must never do.

By hand, for as many as one likes: ``PYTHONPATH=src:tests python -m e2e.fuzz_run SEED COUNT``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from e2e.contract_world import World
from e2e.fuzz_requests import MADE, Generator, Request
from e2e.ketchd_process import Ketchd, busybox_tar

ALLOWED = {501, 503}
"""What ketch says it does not do, and that there is no swarm."""
LIMIT = 5.0
"""Seconds within which every answer must come that does not wait for somebody."""
ROUND = 500
"""Requests between two clearings, after which the objects are there again."""

SLEEPER = "trap 'exit 0' TERM INT; while :; do sleep 1; done"


class Finding(NamedTuple):
    """A request and what was wrong with its answer."""

    request: Request
    answer: str


async def ask(socket: str, request: Request) -> str | None:
    """Send one; the head of a wrong answer, or None."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(_bytes(request))
        async with asyncio.timeout(LIMIT):
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            stays = request.may_block and status < 500
            rest = b"" if stays else await reader.read(65536)
    except TimeoutError:
        return None if request.may_block else f"no answer within {LIMIT} s"
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        return f"connection lost: {error!r}"
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    wrong = status >= 500 and status not in ALLOWED
    return (head + rest).decode(errors="replace")[-600:] if wrong else None


def _bytes(request: Request) -> bytes:
    headers = {"Host": "x", "Connection": "close", **request.headers}
    if request.body is not None or request.method in ("POST", "PUT"):
        headers["Content-Length"] = str(len(request.body or b""))
    lines = [f"{request.method} {request.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + (request.body or b"")


async def fuzz(socket: str, generator: Generator, count: int, lanes: int = 4) -> list[Finding]:
    """Send ``count`` requests, ``lanes`` at a time."""
    found: list[Finding] = []
    left = count

    async def lane() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            request = generator.request()
            wrong = await ask(socket, request)
            if wrong is not None:
                found.append(Finding(request, wrong))

    await asyncio.gather(*(lane() for _ in range(lanes)))
    return found


def furnish(ketchd: Ketchd) -> dict[str, tuple[str, ...]]:
    """Make objects for the requests to hit; their names by the first word of a path."""
    ketchd.docker("run", "-d", "--name", "fz-up", "busybox", "sh", "-c", SLEEPER)
    ketchd.docker("create", "--name", "fz-new", "-v", "fz-vol:/v", "busybox", "true")
    ketchd.docker("run", "--name", "fz-gone", "busybox", "sh", "-c", "echo out; exit 3", code=3)
    ketchd.docker("network", "create", "fz-net")
    ketchd.docker("tag", "busybox", "fz-image:1")
    world = World(ketchd)
    body = {"Cmd": ["echo", "x"], "AttachStdout": True}
    execs = [str(world.must("POST", "/containers/fz-up/exec", body)["Id"]) for _ in range(9)]
    return {
        "containers": ("fz-up", "fz-up", "fz-new", "fz-gone", *MADE, *MADE),
        "exec": tuple(execs),
        "volumes": ("fz-vol",),
        "networks": ("fz-net", "bridge", "host"),
        "images": ("fz-image:1", "busybox"),
    }


def clear(ketchd: Ketchd) -> None:
    """Take everything away, whatever the requests made of it; load the image anew."""
    if ids := ketchd.out("ps", "-aq").split():
        ketchd.docker("rm", "-fv", *ids)
    ketchd.docker("volume", "prune", "-af")
    ketchd.docker("network", "prune", "-f")
    ketchd.docker("image", "prune", "-af")
    changes = ("--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin:/sbin")
    ketchd.docker("import", *changes, "-", "busybox:latest", input=busybox_tar())


def campaign(ketchd: Ketchd, seed: int, count: int) -> list[Finding]:
    """Rounds of requests on fresh objects; findings of all of them."""
    found: list[Finding] = []
    for number, start in enumerate(range(0, count, ROUND)):
        generator = Generator(seed + number, furnish(ketchd))
        found += asyncio.run(fuzz(str(ketchd.socket), generator, min(ROUND, count - start)))
        clear(ketchd)
    return found


def main(seed: int, count: int) -> None:
    """A daemon of its own, fuzzed; prints findings as they come."""
    with tempfile.TemporaryDirectory(prefix="ketch-fuzz-") as folder:
        ketchd = Ketchd(Path(folder))
        ketchd.start()
        try:
            clear(ketchd)
            for start in range(0, count, ROUND):
                for finding in campaign(ketchd, seed + start, ROUND):
                    print(finding.request, "\n  ", finding.answer.strip()[-400:], flush=True)
                print(f"--- {start + ROUND} of {count}", flush=True)
        finally:
            ketchd.shutdown_everything()
            print(ketchd.tail())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
