from __future__ import annotations

import asyncio

from benchmarks.storm.clients.errors import ConnectFailed, ServerError
from benchmarks.storm.clients.meter import METER, Meter


def test_errors_are_counted_by_name_with_the_first_message_of_each() -> None:
    meter = Meter()
    meter.failed(ServerError("53300", "FATAL", "too many\nDETAIL"))
    meter.failed(ServerError("53300", "FATAL", "too many again"))
    meter.failed(ConnectFailed("refused"))
    assert meter.errors == {"53300": 2, "ConnectFailed": 1}
    assert meter.examples == {"53300": "too many", "ConnectFailed": "refused"}


def test_nobody_measures_unless_somebody_asks() -> None:
    assert METER.get() is None


async def test_each_task_has_a_meter_of_its_own() -> None:
    async def invocation(number: int) -> Meter:
        METER.set(mine := Meter())
        await asyncio.sleep(0)
        found = METER.get()
        assert found is mine
        found.connects = number
        return mine

    meters = await asyncio.gather(*(asyncio.create_task(invocation(n)) for n in range(3)))
    assert [meter.connects for meter in meters] == [0, 1, 2]
    assert METER.get() is None


def test_waiting_is_for_a_connection_and_for_a_server_to_begin_on() -> None:
    meter = Meter(connect_seconds=0.5, begin_seconds=0.25, statement_seconds=4.0)
    assert meter.waited() == 0.75
