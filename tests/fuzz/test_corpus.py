"""Every input of the corpus, on both ways: what once broke a target is a test from then on."""

from __future__ import annotations

import pytest

from tests.fuzz import blind
from tests.fuzz.dialogues import OpenDoor
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

INPUTS = [(target, name) for target in TARGETS.values() for name in target.corpus()]


@pytest.mark.parametrize(("target", "name"), INPUTS, ids=[f"{target.name}/{name}" for target, name in INPUTS])
def test_it_breaks_nothing(target: Target, name: str) -> None:
    """Nor costs more work or memory than so many bytes may."""
    target.measured(target.corpus()[name])


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_every_target_has_seeds(target: Target) -> None:
    assert any(name.startswith("seed-") for name in target.corpus())


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_nothing_at_all(target: Target) -> None:
    target.run(b"")


def test_recorded_logins_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the mutator would never come behind the proof."""
    entered: list[int] = []
    enter = OpenDoor.enter
    monkeypatch.setattr(OpenDoor, "enter", lambda self, *rest: (entered.append(1), enter(self, *rest))[1])
    for data in TARGETS["login"].corpus().values():
        TARGETS["login"].run(data)
    assert len(entered) >= 6


@pytest.mark.parametrize("name", ["login", "server", "hostile_server"])
def test_the_same_seed_makes_the_same_inputs(name: str) -> None:
    ran: list[bytes] = []
    target = TARGETS[name]
    probe = Target(name, ran.append, target.tokens)
    for _ in range(2):
        assert blind.fuzz(probe, 7, blind.inputs(9), every=100).crash is None
    assert ran[:9] == ran[9:]
