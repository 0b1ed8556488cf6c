"""Health checks as they are written: targets, statuses, labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.engine.containers import health_spec
from ketch.engine.containers.health_spec import NetProbe, net_probe
from ketch.engine.containers.health_values import Healthcheck
from ketch.engine.containers.image import config_of, defaults_of
from ketch.engine.containers.spec import ContainerSpec
from ketch.errors import InvalidParameter, KetchError
from ketch.oci.image import Health, ImageConfig, RunConfig

ANY = ((200, 399),)


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("8080", ("", 8080, "/", "localhost:8080")),
        ("8080/a/b?c=d", ("", 8080, "/a/b?c=d", "localhost:8080")),
        (":8080/a", ("", 8080, "/a", "localhost:8080")),
        ("/a", ("", 80, "/a", "localhost")),
        ("http://localhost/a", ("", 80, "/a", "localhost")),
        ("http://127.0.0.2:81", ("127.0.0.2", 81, "/", "127.0.0.2:81")),
        ("http://[::1]:81/x#y", ("::1", 81, "/x", "[::1]:81")),
        ("http://[::1]/x", ("::1", 80, "/x", "[::1]")),
        ("10.0.0.1:81/x", ("10.0.0.1", 81, "/x", "10.0.0.1:81")),
    ],
)
def test_targets_of_http(target: str, found: tuple[str, int, str, str]) -> None:
    host, port, path, authority = found
    assert net_probe(Healthcheck(test=("HTTP", target))) == NetProbe(
        host=host, port=port, path=path, authority=authority, statuses=ANY
    )


@pytest.mark.parametrize(
    "target",
    ["0", "65536", "x", "host:80", "ftp://127.0.0.1/", "80/a b", "80/a\r\nX: y", "http://:x/"],
)
def test_bad_targets(target: str) -> None:
    with pytest.raises(KetchError):
        net_probe(Healthcheck(test=("HTTP", target)))


@given(st.text(max_size=40), st.sampled_from(["HTTP", "TCP"]))
def test_no_target_breaks_it_or_gets_a_line_into_the_request(target: str, kind: str) -> None:
    try:
        probe = net_probe(Healthcheck(test=(kind, target)))
    except KetchError:
        return
    assert 0 < probe.port < 65536
    assert not set(probe.path + probe.authority) & set("\r\n \0")


@pytest.mark.parametrize("text", ["", "99", "600", "200-100", "200,", "2xx", "²00"])
def test_bad_statuses(text: str) -> None:
    with pytest.raises(InvalidParameter, match="statuses"):
        net_probe(Healthcheck(test=("HTTP", "80", text)))


def test_statuses() -> None:
    probe = net_probe(Healthcheck(test=("HTTP", "80", "200, 204,300-399")))
    assert probe.statuses == ((200, 200), (204, 204), (300, 399))


@pytest.mark.parametrize(
    "test",
    [
        ("CMD",), ("CMD-SHELL",), ("CMD-SHELL", "a", "b"), ("NONE", "x"), ("HTTP",), ("WHAT", "x"),
        ("TCP", "1", "2"), ("HTTP", "1", "200", "x"),
    ],
)  # fmt: skip
def test_forms_that_mean_nothing(test: tuple[str, ...]) -> None:
    with pytest.raises(InvalidParameter):
        health_spec.check(ContainerSpec(image="x", healthcheck=Healthcheck(test=test)))


def test_labels_keep_dockers_numbers() -> None:
    spec = ContainerSpec(
        image="x",
        labels={"ketch.health.http": "80", "ketch.health.status": "204"},
        healthcheck=Healthcheck(interval=5_000_000),
    )
    found = health_spec.with_labels(spec).healthcheck
    assert found == Healthcheck(test=("HTTP", "80", "204"), interval=5_000_000)


def test_an_image_cannot_ask_the_engine_to_probe() -> None:
    config = ImageConfig(config=RunConfig(healthcheck=Health(test=["HTTP", "80/x"], interval=5)))
    assert defaults_of(config).healthcheck is None
    spec = ContainerSpec(image="x", healthcheck=Healthcheck(test=("TCP", "80")))
    assert config_of(spec, config).healthcheck is None  # nor does a commit make such an image
