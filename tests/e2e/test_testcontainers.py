"""testcontainers with a real PostgreSQL and a real Redis, made from Debian's packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from e2e.ketch_program import ketch
from e2e.ketchd_process import Ketchd, wait_for

pytestmark = [pytest.mark.root, pytest.mark.mirror, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
KEPT = HERE.parents[1] / ".cache" / "tests" / "databases-base.tar"
PACKAGES = "postgresql,redis-server,python3"


@pytest.fixture(scope="module")
def images(ketchd: Ketchd) -> Iterator[None]:
    """``ketch-postgres``, ``ketch-redis`` and ``ketch-reaper``, built from a bootstrapped Debian.

    The base takes two minutes to make, so it is kept in ``.cache`` (``make clean`` removes it).
    """
    if shutil.which("mmdebstrap") is None:
        pytest.skip("needs mmdebstrap")
    if not KEPT.exists():
        words = ("image", "bootstrap", "debian:bookworm", "--include", PACKAGES)
        ketch(ketchd, *words, "-t", "databases-base", timeout=800)
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        ketchd.docker("save", "-o", f"{KEPT}.new", "databases-base")
        Path(f"{KEPT}.new").rename(KEPT)
    else:
        ketchd.docker("load", "-i", str(KEPT))
    for stage in ("postgres", "redis", "reaper"):
        ketchd.docker("build", "-t", f"ketch-{stage}", "--target", stage, str(HERE / "databases"))
    yield
    names = [f"ketch-{stage}" for stage in ("postgres", "redis", "reaper")]
    ketchd.docker("rmi", "-f", *names, "databases-base")


@pytest.fixture
def testcontainers(ketchd: Ketchd, images: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The library, talking to our engine, without its reaper."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{ketchd.socket}")
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    library = pytest.importorskip("testcontainers.core.container")
    monkeypatch.setattr(library.c, "_ryuk_disabled", True)
    monkeypatch.setattr(library.c, "sleep_time", 0.1)
    yield library
    left = ketchd.out("ps", "-aq", "--filter", "label=org.testcontainers").split()
    if left:
        ketchd.docker("rm", "-fv", *left)


def test_postgres(testcontainers: Any, ketchd: Ketchd, name: str) -> None:
    """initdb as user postgres; the data survives the container in its volume."""
    from testcontainers.community.postgres import PostgresContainer

    def made() -> Any:
        found = PostgresContainer("ketch-postgres", password="se'cret", driver=None)
        return found.with_volume_mapping(name, "/data", "rw")

    with made() as postgres:
        with psycopg.connect(postgres.get_connection_url(), password="se'cret") as connection:
            version = connection.execute("SELECT version()").fetchone()
            assert version is not None
            assert version[0].startswith("PostgreSQL 15")
            connection.execute("CREATE TABLE kept (word text)")
            connection.execute(
                "INSERT INTO kept SELECT 'row ' || n FROM generate_series(1, 5000) n"
            )
        wrapped = postgres.get_wrapped_container()
        assert wrapped.exec_run("id -un").output == b"postgres\n"
        assert b"ready to accept connections" in b"".join(postgres.get_logs())
        wrapped.stop()
        assert wrapped.wait()["StatusCode"] == 0
    with (
        made() as postgres,
        psycopg.connect(postgres.get_connection_url(), password="se'cret") as connection,
    ):
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (5000,)
        assert b"initdb" not in b"".join(postgres.get_logs())
    ketchd.docker("volume", "rm", name)


def test_redis(testcontainers: Any) -> None:
    from testcontainers.community.redis import RedisContainer

    with RedisContainer("ketch-redis") as container:
        client = container.get_client()
        assert client.set("key", "value")
        assert client.get("key") == b"value"
        pipe = client.pipeline()
        for number in range(2000):
            pipe.incrby("sum", number)
        assert pipe.execute()[-1] == sum(range(2000))
        subscriber = client.pubsub()
        subscriber.subscribe("news")
        assert subscriber.get_message(timeout=60)["type"] == "subscribe"
        client.publish("news", "hello")
        assert subscriber.get_message(timeout=60)["data"] == b"hello"
        client.close()


def test_waiting_for_words_and_transfers(testcontainers: Any, tmp_path: Path) -> None:
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    (tmp_path / "sent").write_text("a file")
    container = (
        testcontainers.DockerContainer("busybox")
        .with_command(["sh", "-c", "sleep 0.2; echo now it is up; sleep 600"])
        .with_env("WORD", "hello")
        .with_volume_mapping(tmp_path, "/bound", "ro")
        .with_copy_into_container(b"given", "/tmp/given")
        .with_tmpfs_mount("/fast", "size=1m")
        .waiting_for(LogMessageWaitStrategy("it is up"))
    )
    with container:
        assert container.exec("cat /bound/sent").output == b"a file"
        assert container.exec("cat /tmp/given").output == b"given"
        assert container.exec(["sh", "-c", "echo $WORD"]).output == b"hello\n"
        assert container.get_logs()[0] == b"now it is up\n"
        assert container.exec("false").exit_code == 1


def test_networks(testcontainers: Any) -> None:
    from testcontainers.core.network import Network

    with Network() as network:
        container = testcontainers.DockerContainer("busybox", command="sleep 600", network=network)
        with container:
            container.get_wrapped_container().reload()
            joined = container.get_wrapped_container().attrs["NetworkSettings"]["Networks"]
            assert set(joined) == {network.name}


PROGRAM = """
import sys
from testcontainers.community.redis import RedisContainer
with RedisContainer("ketch-redis") as container:
    print(container.get_wrapped_container().id, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_client_left_is_reaped(testcontainers: Any, ketchd: Ketchd) -> None:
    """testcontainers' own reaper protocol, with the engine's socket inside of a container."""
    env = {
        **ketchd.env(),
        "RYUK_CONTAINER_IMAGE": "ketch-reaper",
        "TESTCONTAINERS_RYUK_DISABLED": "false",
        "TC_POOLING_INTERVAL": "0.1",
    }
    client = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert client.stdout is not None
    identity = client.stdout.readline().decode().strip()
    assert ketchd.out("inspect", "-f", "{{.State.Running}}", identity) == "true"
    client.kill()
    client.communicate()

    def gone() -> bool:
        return not ketchd.out("ps", "-aq", "--filter", "label=org.testcontainers")

    wait_for(gone, "the reaper left containers")
