"""What a health check may say: Docker's forms, the engine's own probes, labels (pure).

The engine probes by itself, from inside the container's network namespace and without a program
of the image, when the test is ``("HTTP", target[, statuses])`` or ``("TCP", target)``. A client
asks for that by the test itself or, where it can only give Docker's, by labels:

    ketch.health.http = [http://HOST:]PORT[/PATH]
    ketch.health.status = 200,204,300-399
    ketch.health.tcp = [HOST:]PORT
    ketch.health.on-failure = none|restart|stop|kill

Only labels of the create request count. An image's mean nothing, nor does a test of an image that
Docker does not know: whoever makes an image decides nothing about the engine.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import msgspec

from ketch.engine.containers.health_values import Healthcheck
from ketch.engine.containers.spec import ContainerSpec
from ketch.errors import InvalidParameter, Unsupported

DOCKER_KINDS = ("NONE", "CMD", "CMD-SHELL")
ENGINE_KINDS = ("HTTP", "TCP")
ACTIONS = ("none", "restart", "stop", "kill")
PREFIX = "ketch.health."
_SHORTEST = 1_000_000  # ns, Docker's least duration
_DEFAULT_STATUSES = "200-399"
_DURATIONS = (
    ("Interval", "interval"),
    ("Timeout", "timeout"),
    ("StartPeriod", "start_period"),
    ("StartInterval", "start_interval"),
)
_PATH = re.compile(r"/[!-~]*\Z")
_LONGEST_TARGET = 2048


class NetProbe(msgspec.Struct, frozen=True, kw_only=True):
    """Where to connect: ``host`` empty = the loopback, else an address; ``path`` empty = TCP."""

    port: int
    host: str = ""
    path: str = ""
    authority: str = ""  # for the Host header
    statuses: tuple[tuple[int, int], ...] = ()


def is_engine_probe(check: Healthcheck | None) -> bool:
    """Whether the engine itself probes."""
    return check is not None and bool(check.test) and check.test[0] in ENGINE_KINDS


def with_labels(spec: ContainerSpec) -> ContainerSpec:
    """What the request's own labels ask for, put where it belongs.

    Raises ``InvalidParameter`` for a reserved label that says nothing or contradicts the test.
    """
    asked = {
        name.removeprefix(PREFIX): value
        for name, value in spec.labels.items()
        if name.startswith(PREFIX)
    }
    for name in asked:
        if name not in ("http", "tcp", "status", "on-failure"):
            raise InvalidParameter(
                f"unknown label {PREFIX}{name}: {PREFIX}http, tcp, status and on-failure are known"
            )
    test = _test(asked)
    check = spec.healthcheck
    if test:
        if check is not None and check.test:
            raise InvalidParameter(
                f"conflicting options: a health check command and {PREFIX}{test[0].lower()}"
            )
        check = msgspec.structs.replace(check or Healthcheck(), test=test)
    action = asked.get("on-failure", spec.health_on_failure)
    return msgspec.structs.replace(spec, healthcheck=check, health_on_failure=action)


def _test(asked: dict[str, str]) -> tuple[str, ...]:
    if "http" in asked and "tcp" in asked:
        raise InvalidParameter(f"conflicting options: {PREFIX}http and {PREFIX}tcp")
    if "http" in asked:
        return ("HTTP", asked["http"], *((asked["status"],) if "status" in asked else ()))
    if "status" in asked:
        raise InvalidParameter(f"{PREFIX}status needs {PREFIX}http")
    return ("TCP", asked["tcp"]) if "tcp" in asked else ()


def check(spec: ContainerSpec) -> None:
    """Raise ``InvalidParameter`` or ``Unsupported`` for a health check that makes no sense."""
    health = spec.healthcheck
    if health is not None:
        _check_numbers(health)
        _check_test(health.test)
        if is_engine_probe(health):
            net_probe(health)
    if spec.health_on_failure not in ACTIONS:
        raise InvalidParameter(
            f"invalid {PREFIX}on-failure '{spec.health_on_failure}': use one of "
            + ", ".join(ACTIONS)
        )
    tests = health is not None and bool(health.test) and health.test[0] != "NONE"
    if spec.health_on_failure != "none" and not tests:
        raise InvalidParameter(
            f"{PREFIX}on-failure={spec.health_on_failure} (--health-on-failure) needs a health "
            "check: neither the request nor the image has one"
        )


def _check_numbers(health: Healthcheck) -> None:
    for name, field in _DURATIONS:
        value = getattr(health, field)
        if value and value < _SHORTEST:
            raise InvalidParameter(f"{name} in Healthcheck cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidParameter("Retries in Healthcheck cannot be negative")


def _check_test(test: tuple[str, ...]) -> None:
    if not test:
        return
    kind, words = test[0], test[1:]
    if kind not in (*DOCKER_KINDS, *ENGINE_KINDS):
        raise InvalidParameter(
            f"unknown type {kind!r} of Healthcheck.Test: it begins with "
            + ", ".join((*DOCKER_KINDS, *ENGINE_KINDS))
        )
    if kind == "NONE" and words:
        raise InvalidParameter("Healthcheck.Test NONE takes no argument")
    if kind == "CMD-SHELL" and len(words) != 1:
        raise InvalidParameter("Healthcheck.Test CMD-SHELL takes exactly one argument")
    if kind == "CMD" and not words:
        raise InvalidParameter("Healthcheck.Test CMD takes at least one argument")


def net_probe(health: Healthcheck) -> NetProbe:
    """Where and how the engine probes; raises ``InvalidParameter``, ``Unsupported``."""
    kind, words = health.test[0], health.test[1:]
    if not 1 <= len(words) <= (2 if kind == "HTTP" else 1) or len(words[0]) > _LONGEST_TARGET:
        raise InvalidParameter(f"Healthcheck.Test {kind} takes a target: {list(words)!r:.100}")
    if kind == "TCP":
        host, port = _address(words[0], words[0], 0)
        return NetProbe(host=host, port=port)
    statuses = _statuses(words[1] if len(words) > 1 else _DEFAULT_STATUSES)
    return _http(words[0], statuses)


def _http(target: str, statuses: tuple[tuple[int, int], ...]) -> NetProbe:
    if target.startswith("https:"):
        raise Unsupported(
            "health checks by https are not supported: use http, tcp or a command of the image"
        )
    rest = target.removeprefix("http://")
    if "://" in rest.partition("/")[0]:
        raise InvalidParameter(f"invalid health check target {target!r}: only http is known")
    where, slash, path = rest.partition("/")
    if not _PATH.match(slash + path or "/"):
        raise InvalidParameter(f"invalid path in the health check target {target!r:.100}")
    host, port = _address(where or "80", target, 80 if target != rest else 0)
    name = f"[{host}]" if ":" in host else host or "localhost"
    authority = name if port == 80 else f"{name}:{port}"
    path = urlsplit(slash + path or "/")._replace(fragment="").geturl()
    return NetProbe(host=host, port=port, path=path, authority=authority, statuses=statuses)


def _address(text: str, whole: str, default: int) -> tuple[str, int]:
    """``[host:]port`` or, with a default port, ``host``."""
    if default and not text.isdecimal() and (":" not in text or text.endswith("]")):
        host, port = text, str(default)
    else:
        host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536 and len(port) < 6):
        raise InvalidParameter(f"invalid port in the health check target {whole!r:.100}")
    host = host.removeprefix("[").removesuffix("]")
    if host in ("", "localhost"):
        return "", int(port)
    try:
        return str(ipaddress.ip_address(host)), int(port)
    except ValueError:
        raise InvalidParameter(
            f"invalid host in the health check target {whole!r:.100}: an IP address or localhost, "
            "as seen from inside the container"
        ) from None


def _statuses(text: str) -> tuple[tuple[int, int], ...]:
    """``200,204,300-399`` → ranges."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"([1-5]\d\d)(?:-([1-5]\d\d))?", part.strip(), re.ASCII)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise InvalidParameter(
                f"invalid health check statuses {text!r:.100}: write them like 200,204,300-399"
            )
        found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(found)
