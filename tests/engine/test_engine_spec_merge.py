"""Merging with the image: the rules that clients lean on."""

import pytest

from ketch.engine.containers.health_values import Healthcheck
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.spec.merge import ImageDefaults, merge, process_env
from ketch.errors import InvalidParameter


def _merge(image: ImageDefaults | None = None, **asked: object) -> ContainerSpec:
    return merge(ContainerSpec(image="x", **asked), image or ImageDefaults(cmd=("sh",)))


def test_command_of_the_image_is_taken_when_none_is_given() -> None:
    merged = _merge()
    assert merged.cmd == ("sh",)
    assert merged.entrypoint is None


def test_command_replaces_the_images_and_keeps_its_entrypoint() -> None:
    image = ImageDefaults(entrypoint=("run",), cmd=("a",))
    merged = _merge(image, cmd=("b",))
    assert (merged.entrypoint, merged.cmd) == (("run",), ("b",))


def test_entrypoint_switches_the_images_command_off() -> None:
    image = ImageDefaults(entrypoint=("run",), cmd=("a",))
    merged = _merge(image, entrypoint=("other",))
    assert (merged.entrypoint, merged.cmd) == (("other",), None)


def test_empty_entrypoint_removes_the_images() -> None:
    image = ImageDefaults(entrypoint=("run",), cmd=("a",))
    merged = _merge(image, entrypoint=("",), cmd=("b",))
    assert (merged.entrypoint, merged.cmd) == (None, ("b",))


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="no command specified"):
        _merge(ImageDefaults())


def test_variables_of_the_request_come_first() -> None:
    image = ImageDefaults(cmd=("sh",), env=("PATH=/bin", "A=image"))
    assert _merge(image, env=("A=1",)).env == ("A=1", "PATH=/bin")


def test_malformed_variable_is_refused_in_dockers_words() -> None:
    with pytest.raises(InvalidParameter, match="invalid environment variable: =x"):
        _merge(env=("=x",))


def test_labels_ports_and_volumes_are_united() -> None:
    image = ImageDefaults(
        cmd=("sh",), labels={"a": "1", "b": "1"}, exposed_ports=("80/tcp",), volumes=("/data",)
    )
    merged = _merge(image, labels={"b": "2"}, exposed_ports=("90/tcp",))
    assert merged.labels == {"a": "1", "b": "2"}
    assert merged.exposed_ports == ("90/tcp", "80/tcp")
    assert merged.anonymous_volumes == ("/data",)


def test_health_check_inherits_field_by_field() -> None:
    image = ImageDefaults(cmd=("sh",), healthcheck=Healthcheck(test=("CMD", "x"), retries=5))
    merged = _merge(image, healthcheck=Healthcheck(interval=7))
    assert merged.healthcheck == Healthcheck(test=("CMD", "x"), retries=5, interval=7)


def test_process_environment() -> None:
    env = process_env(("A=1", "HOSTNAME", "A=2"), hostname="h", tty=True)
    assert env[0].startswith("PATH=/usr/local/sbin:")
    assert env[1:] == ["TERM=xterm", "A=2"]
