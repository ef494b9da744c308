from __future__ import annotations

from random import Random

import pytest

from benchmarks.storm.model.function import Function
from benchmarks.storm.model.register import Register


def test_an_invocation_is_entered_and_settled_once() -> None:
    register = Register(Random(1))
    invocation = register.enter(Function("f"), "event", "synchronous", 2.0, 1.0)
    assert (invocation.accepted, invocation.intended, invocation.attempt) == (2.0, 1.0, 1)
    assert repr(invocation) == f"<Invocation {invocation.id[:8]} synchronous f: attempt 1>"
    assert len(register) == 1
    settled = register.settle(invocation, "succeeded")
    assert (settled.invocation, settled.outcome) == (invocation, "succeeded")
    assert repr(invocation) == f"<Invocation {invocation.id[:8]} synchronous f: succeeded>"
    assert len(register) == 0
    with pytest.raises(KeyError):
        register.settle(invocation, "failed")
    assert invocation.outcome == "succeeded"


def test_only_ends_of_its_kind() -> None:
    register = Register(Random(1))
    invocation = register.enter(Function("f"), "event", "asynchronous", 0.0, 0.0)
    with pytest.raises(ValueError, match="asynchronous f: attempt 1> cannot end 'throttled'"):
        register.settle(invocation, "throttled")
    assert len(register) == 1
