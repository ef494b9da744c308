"""A transaction is begun in one invocation, and goes on in the next."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from benchmarks.storm import events
from benchmarks.storm.clients.errors import ConnectionLost, ServerError
from benchmarks.storm.context import Context
from benchmarks.storm.handlers import careless as module
from benchmarks.storm.ledger import NOTE
from tests.unit.storm.clients.fakes import FakeSession

EVENT = events.read(7, 0.0)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[FakeSession]:
    """Those that it has opened."""
    opened: list[FakeSession] = []

    async def connect() -> FakeSession:
        opened.append(FakeSession())
        return opened[-1]

    monkeypatch.setattr(module, "connect", connect)
    monkeypatch.setattr(module, "begun", [])
    return opened


async def invoke(handler: ModuleType = module, number: int = 1) -> dict[str, Any]:
    context = Context("careless", 512, str(number), 3.0, lambda: 0.0)
    answer: dict[str, Any] = await handler.handler(EVENT, context)
    return answer


async def test_it_returns_in_the_midst_of_its_transaction(sessions: list[FakeSession]) -> None:
    assert await invoke() == {"statusCode": 202}
    (session,) = sessions
    assert session.said == ["BEGIN", module.TAKE]
    assert await invoke() == {"statusCode": 200}
    assert session.said == ["BEGIN", module.TAKE, NOTE, NOTE, "COMMIT"]
    assert len(sessions) == 1


async def test_what_it_has_begun_is_a_half_until_it_goes_on(sessions: list[FakeSession]) -> None:
    await invoke(number=1)
    await invoke(number=2)
    notes = [args[:4] for sql, args in sessions[0].asked if sql in (module.TAKE, NOTE)]
    assert notes == [("1", 1, 1, 2), ("1", 1, 2, 2), ("2", 1, 1, 1)]


async def test_then_it_begins_anew(sessions: list[FakeSession]) -> None:
    for status in (202, 200, 202):
        assert (await invoke())["statusCode"] == status
    assert len(sessions) == 2


async def test_a_commit_that_was_a_rollback_is_no_success(sessions: list[FakeSession]) -> None:
    await invoke()
    sessions[0].answers["COMMIT"] = "ROLLBACK"
    assert await invoke() == {"statusCode": 500}


@pytest.mark.parametrize(
    "error", [ServerError("25P03", "FATAL", "idle-in-transaction timeout"), ConnectionLost("cut")]
)
async def test_what_has_become_of_its_transaction_is_raised(
    sessions: list[FakeSession], error: Exception
) -> None:
    await invoke()
    sessions[0].answers[NOTE] = error
    with pytest.raises(type(error)):
        await invoke()
    assert await invoke() == {"statusCode": 202}
