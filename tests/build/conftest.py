from __future__ import annotations

import pytest

from build.fakes import FakeExecutor


@pytest.fixture
def executor() -> FakeExecutor:
    """With an image called ``base``."""
    fake = FakeExecutor()
    fake.add_image("base")
    return fake
