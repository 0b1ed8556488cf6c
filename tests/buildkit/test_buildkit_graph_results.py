"""What front ends return: references by platform, configurations made whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ketch.buildkit.graphs.results import config_of, references
from ketch.buildkit.messages.gateway import OldRefMap, Ref, RefMap, Result
from ketch.engine.builder.graph.image import Made, image_result
from ketch.errors import InvalidParameter, Unsupported
from ketch.oci import platform as platforms

LAYERS = tuple(f"sha256:{digit * 64}" for digit in "ab")
LISTED = {
    "Platforms": [
        {"ID": "one", "Platform": {"os": "linux", "architecture": "amd64"}},
        {"ID": "two", "Platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
    ]
}


def of(document: object) -> bytes:
    return json.dumps(document).encode()


def test_references() -> None:
    assert references(Result()) == {}
    assert references(Result(refDeprecated="x")) == {"": "x"}
    assert references(Result(ref=Ref(id="x"))) == {"": "x"}
    refs = RefMap(refs={"one": Ref(id="1"), "two": Ref(id="2")})
    found = {"linux/amd64": "1", "linux/arm64": "2"}
    assert references(Result(refs=refs, metadata={"refs.platforms": of(LISTED)})) == found
    old = OldRefMap(refs={"linux/amd64": "1", "linux/arm64": "2"})
    result = Result(refsDeprecated=old, metadata={"containerimage.config/linux/arm64": b"{}"})
    assert references(result) == found
    assert config_of(result, "linux/arm64") == b"{}"
    assert config_of(result, "linux/amd64") == b""


@pytest.mark.parametrize(
    "listed",
    [b"[]", b"{", of({}), of({"Platforms": [1]}), of({"Platforms": [{"ID": "one"}]})],
)
def test_platforms_that_do_not_fit_are_refused(listed: bytes) -> None:
    refs = RefMap(refs={"one": Ref(id="1"), "two": Ref(id="2")})
    with pytest.raises(InvalidParameter):
        references(Result(refs=refs, metadata={"refs.platforms": listed}))


def test_what_a_front_end_may_not_add_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="attestations that a front end gives"):
        references(Result(attestations={"linux/amd64": b"x"}))
    with pytest.raises(Unsupported, match=r"'annotation-manifest\.a' that a front end gives"):
        references(Result(metadata={"annotation-manifest.a": b"b"}))


def made(layer: str) -> Made:
    return Made(f"step {layer[7]}", "2020-01-01T00:00:00Z")


def config(**more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(image_result(of(more) if more else b"", LAYERS, made).config)
    return found


def test_a_configuration_gets_the_layers_and_a_line_for_each() -> None:
    found = config()
    assert found["config"]["WorkingDir"] == "/"
    assert found["rootfs"] == {"type": "layers", "diff_ids": list(LAYERS)}
    assert [line["created_by"] for line in found["history"]] == ["step a", "step b"]
    assert image_result(b"", LAYERS, made).platform == platforms.host()
    known = [{"created_by": "mine"}, {"created_by": "no layer", "empty_layer": True}]
    found = config(os="linux", architecture="s390x", history=known, mine={"kept": 1})
    assert [line["created_by"] for line in found["history"]] == ["mine", "no layer", "step b"]
    assert found["mine"] == {"kept": 1}
    many = [{"created_by": str(number)} for number in range(4)]
    assert [line["created_by"] for line in config(history=many)["history"]] == ["2", "3"]


@pytest.mark.parametrize("wrong", [b"[]", b"{", of({"config": 1}), of({"os": []})])
def test_what_is_no_configuration_is_refused(wrong: bytes) -> None:
    with pytest.raises(InvalidParameter):
        image_result(wrong, LAYERS, made)
