"""Every dialogue is held twice: in whole messages, and one byte at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.dialogues.stage import Stage


@pytest.fixture(params=["whole", "bytewise"])
def pace(request: pytest.FixtureRequest) -> str:
    """How much of a message arrives at once."""
    pace: str = request.param
    return pace


@pytest.fixture
def stages(pace: str) -> Iterator[Callable[..., Stage]]:
    """Makes stages with settings of the test's own; each is checked at the end."""
    made: list[Stage] = []

    def make(**settings: Any) -> Stage:
        made.append(Stage(pace == "bytewise", **settings))
        return made[-1]

    yield make
    try:
        for stage in made:
            stage.settle()
            stage.check()
    finally:
        for stage in made:
            stage.close()


@pytest.fixture
def stage(stages: Callable[..., Stage]) -> Stage:
    """A transaction pool of user app, without servers yet."""
    return stages()
