"""What displays call a step."""

from __future__ import annotations

import pytest

from ketch.build.dockerfile.parser import parse
from ketch.build.dockerfile.plan import make_plan
from ketch.build.dockerfile.scope import GlobalScope
from ketch.build.progress import step_names
from ketch.build.progress.vertices import Vertices


def names(text: str) -> list[str]:
    dockerfile = parse(text.encode(), "Dockerfile")
    plan = make_plan(dockerfile, GlobalScope({}, {}, "\\"), "")
    vertices = Vertices(plan)
    return [
        vertices.step(planned, place, {"v": "1"}).name
        for planned in plan.stages
        for place in range(1, len(planned.stage.steps) + 1)
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("run echo $v ${v} $none '$v'", "RUN echo 1 1 $none '1'"),
        ("copy --chown=$v:${none:-2} $none a\\?b 'c d/'", "COPY --chown=1:2  a?b c d/"),
        ("WORKDIR $none/src", "WORKDIR /src"),
        ("COPY <<E /x\n$v\nE", "COPY <<E /x"),
        ("RUN <<E\nfirst $v\nsecond\nE", "RUN <<E (first $v...)"),
    ],
)
def test_a_step_is_called_what_it_does(text: str, name: str) -> None:
    step = parse(f"FROM a\n{text}\n".encode(), "Dockerfile").stages[0].steps[0]
    assert step_names.name(step, {"v": "1"}) == name


def test_the_stage_stands_in_front_where_there_are_several() -> None:
    """As BuildKit counts them: an image that files come from is one, and nothing at all is."""
    assert names("FROM a\nRUN --mount=target=/x b\n") == ["[2/2] RUN --mount=target=/x b"]
    for step in ("RUN --mount=type=cache,target=/x b", "COPY --from=other /x /y"):
        assert names(f"FROM a\n{step}\n") == [f"[stage-0 2/2] {step}"]
        assert names(f"FROM a AS it\n{step}\n") == [f"[it 2/2] {step}"]
