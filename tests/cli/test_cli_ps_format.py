"""``ketch ps --format`` where there are no containers."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ketch.cli.flags import Failure
from ketch.cli.ps import ps
from ketch.client.api import Client


class Nothing:
    """A daemon without containers."""

    def call(self, *_: Any) -> list[Any]:
        return []


CLIENT = cast(Client, Nothing())


@pytest.mark.parametrize("form", ["{{.Nope}}", "table {{.Names}}\t{{.Nope}}", "{{.Names"])
def test_a_template_that_cannot_be_filled(form: str) -> None:
    with pytest.raises(Failure, match=r"failed to (parse|execute) template"):
        ps(CLIENT, ["--format", form])


@pytest.mark.parametrize(
    "form", ["json", "raw", "table", "table {{.ID}}", '{{.Label "a"}} {{json .}} {{.Size}}']
)
def test_a_template_that_can_be_filled(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ps(CLIENT, ["--format", form]) == 0
    assert len(capsys.readouterr().out.splitlines()) <= 1
