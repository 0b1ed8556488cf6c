"""Variables of legacy links: what Docker 20.10 makes of the same containers."""

from __future__ import annotations

from ketch.engine.containers.link_variables import variables
from ketch.engine.containers.spec import ContainerSpec


def made(ports: tuple[str, ...], env: tuple[str, ...] = ()) -> dict[str, str]:
    other = ContainerSpec(image="i", exposed_ports=ports, env=env)
    found = variables("web", "my-db.x", "10.0.0.2", other)
    return dict(entry.split("=", 1) for entry in found)


def test_without_ports() -> None:
    env = ("A=b=c", "HOME=/x", "PATH=/y", "EMPTY=", "GONE")
    assert made((), env) == {
        "MY_DB.X_NAME": "/web/my-db.x",
        "MY_DB.X_ENV_A": "b=c",
        "MY_DB.X_ENV_EMPTY": "",
    }


def test_a_port() -> None:
    assert made(("5432/tcp",)) == {
        "MY_DB.X_PORT": "tcp://10.0.0.2:5432",
        "MY_DB.X_PORT_5432_TCP": "tcp://10.0.0.2:5432",
        "MY_DB.X_PORT_5432_TCP_ADDR": "10.0.0.2",
        "MY_DB.X_PORT_5432_TCP_PORT": "5432",
        "MY_DB.X_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB.X_NAME": "/web/my-db.x",
    }


def test_the_lowest_port_comes_first_and_tcp_before_udp() -> None:
    assert made(("80/tcp", "53/udp"))["MY_DB.X_PORT"] == "udp://10.0.0.2:53"
    assert made(("80/tcp", "53/udp", "53/tcp"))["MY_DB.X_PORT"] == "tcp://10.0.0.2:53"


def test_ranges() -> None:
    found = made(("7000/tcp", "7001/tcp", "5434/tcp", "5432/tcp", "5433/tcp", "90/tcp"))
    assert {name: value for name, value in found.items() if "START" in name or "END" in name} == {
        "MY_DB.X_PORT_5432_TCP_START": "tcp://10.0.0.2:5432",
        "MY_DB.X_PORT_5432_TCP_END": "tcp://10.0.0.2:5434",
        "MY_DB.X_PORT_5432_TCP_PORT_START": "5432",
        "MY_DB.X_PORT_5432_TCP_PORT_END": "5434",
    }
    starts = [name for name in made(("53/tcp", "53/udp", "54/tcp", "80/tcp")) if "T_START" in name]
    assert starts == ["MY_DB.X_PORT_53_TCP_PORT_START"]
