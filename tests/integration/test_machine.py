"""Random programs of several clients, through the proxy and on connections of their own: the same answers.

`make test` runs 160 programs, always the same; POOLPROXY_PROGRAMS=5000 runs as many new ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test

from tests.support.machine.machine import Machine
from tests.support.machine.worlds import Worlds, drop_databases, make_databases, routes
from tests.support.proxy import ProxyProcess
from tests.support.sabotage import DEFECTS, VARIABLE
from tests.support.stage import Stage

pytestmark = pytest.mark.long

PROGRAMS = int(os.environ.get("POOLPROXY_PROGRAMS", "0"))
STEPS = 20
#: Pool modes and servers per pool, and how many of the programs of `make test` run on such pools.
POOLS = {("transaction", 1): 48, ("transaction", 2): 64, ("transaction", 3): 32, ("session", 8): 16}


@pytest.fixture(scope="module", autouse=True)
def databases(session_stage: Stage) -> Iterator[None]:
    make_databases(session_stage)
    yield
    drop_databases(session_stage)


def _settings(count: int, new: bool) -> settings:
    return settings(
        max_examples=count,
        stateful_step_count=STEPS,
        derandomize=not new,
        database=None,
        deadline=None,
        # What is found may take long to show: the journal tells more than a shorter program.
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


def run_programs(worlds: Worlds, count: int, *, new: bool) -> None:
    """So many random programs; an error at the first difference."""

    class Programs(Machine):
        pass

    Programs.worlds = worlds
    try:
        while worlds.programs < count:
            try:
                run_state_machine_as_test(Programs, settings=_settings(count - worlds.programs, new))
            except FlakyStrategyDefinition:
                # What a client may do next depends on what it heard, and that on who came first: hypothesis
                # minds, and stops.
                if worlds.difference:
                    raise AssertionError(worlds.difference) from None
                worlds.end()
            else:
                break
    finally:
        worlds.close()


@pytest.mark.timeout(0 if PROGRAMS else 600)
@pytest.mark.parametrize(("mode", "size"), POOLS)
def test_any_program(stage: Stage, mode: str, size: int) -> None:
    proxy = stage.fresh(databases=routes(stage), pool_size=size, pool_mode=mode)
    worlds = Worlds(stage, proxy, size)
    share = POOLS[mode, size]
    count = -(-PROGRAMS * share // sum(POOLS.values())) or share
    run_programs(worlds, count, new=bool(PROGRAMS))
    assert not worlds.difference
    print(f"{worlds.programs} programs, {worlds.asked} exchanges, {mode} mode, {size} servers")


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found_within_a_minute(stage: Stage, tmp_path: Path, defect: str) -> None:
    """The machine is alive: what is broken on purpose does not pass."""
    proxy = ProxyProcess(tmp_path, stage.settings(databases=routes(stage), pool_size=2), {VARIABLE: defect})
    worlds = Worlds(stage, proxy, 2)
    try:
        with pytest.raises(Exception):  # noqa: B017 - some defects do not show twice: hypothesis calls that flaky
            run_programs(worlds, 150, new=False)
        assert worlds.difference
    finally:
        proxy.kill()
