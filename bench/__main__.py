"""Run the measures and print the table.

Usage: python -m bench [--rounds N] [--quick] [--newer DIR] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import builds, engines, images, latency, memory, streams, throughput
from bench.timing import Row
from ketch.cli.bootstrap import busybox_tar

SLOW = ("load", "crowd", "stats", "storm", "list", "python")


def measures(
    docker: engines.Docker, ketch: engines.Ketch, work: Path, rounds: int
) -> dict[str, Callable[[], Row | list[Row]]]:
    """All measures by name, in the order of the table."""
    return {
        "idle": lambda: memory.idle(docker, ketch),
        "run": lambda: latency.run_by_docker(docker, ketch, rounds),
        "ketch-run": lambda: latency.run_by_ketch(docker, ketch, rounds),
        "throughput": lambda: throughput.steady(docker, ketch, max(3, rounds // 3)),
        "storm": lambda: throughput.storm(docker, ketch, max(3, rounds // 5)),
        "list": lambda: throughput.listing(ketch, rounds),
        "exec": lambda: latency.execute(docker, ketch, rounds),
        "build": lambda: images.build(docker, ketch, work, max(3, rounds // 3)),
        "cached": lambda: builds.measure(docker, ketch, work, rounds, "cached"),
        "copy": lambda: builds.measure(docker, ketch, work, max(3, rounds // 3), "copy"),
        "stages": lambda: builds.measure(docker, ketch, work, max(3, rounds // 3), "stages"),
        "python": lambda: builds.measure(docker, ketch, work, rounds, "python"),
        "supervisor": lambda: memory.supervisors(docker, ketch),
        "attach": lambda: streams.attach(docker, ketch),
        "logs": lambda: streams.logs(docker, ketch),
        "stats": lambda: streams.stats(docker, ketch),
        "load": lambda: images.load(docker, ketch, work),
        "crowd": lambda: latency.crowded(ketch, rounds),
    }


def chosen(
    known: dict[str, Callable[[], Row | list[Row]]], options: argparse.Namespace
) -> list[Callable[[], Row | list[Row]]]:
    """The measures that the command line asks for."""
    for name in options.only:
        if name not in known:
            sys.exit(f"bench: no measure is called {name}; there are {', '.join(known)}")
    names = options.only or [name for name in known if not (options.quick and name in SLOW)]
    return [known[name] for name in names]


def show(row: Row) -> None:
    """One line of the table."""
    verdict = "reached" if row.reached else "MISSED"
    print(
        f"{row.what:<48}{row.docker:>10.3f} {row.unit:<3}{row.ketch:>10.3f} {row.unit:<3}"
        f"{row.ratio:>8.3f}{row.limit:>7.2f}  {verdict}",
        flush=True,
    )


def main() -> int:
    """Exit code 0 when every measure could be taken, reached or not."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="pairs of each timing")
    parser.add_argument("--quick", action="store_true", help="leave out the slow measures")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these measures")
    parser.add_argument(
        "--newer", type=Path, metavar="DIR", help="Docker as scripts/newer.sh unpacked it into DIR"
    )
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: starts two container engines: run it as root")
    work = Path(tempfile.mkdtemp(prefix="ketch-bench-"))
    if options.newer is not None:
        engines.prefer(options.newer, work)
    if not engines.available():
        sys.exit("bench: dockerd is not installed: apt-get install docker.io")
    docker, ketch = engines.Docker(work), engines.Ketch(work)
    try:
        docker.start()
        ketch.start()
        for engine in (docker, ketch):
            images.load_busybox(engine, busybox_tar())
        version = docker.docker("version", "-f", "{{.Server.Version}}").strip()
        print(f"{platform.platform()}, {os.cpu_count()} CPUs, Docker {version}")
        print(f"{'':<48}{'docker':>14}{'ketch':>14}{'ratio':>7}{'limit':>7}")
        for measure in chosen(measures(docker, ketch, work, options.rounds), options):
            found = measure()
            for row in found if isinstance(found, list) else [found]:
                show(row)
    finally:
        docker.stop()
        ketch.stop()
        shutil.rmtree(work, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
