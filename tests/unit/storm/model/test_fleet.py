from __future__ import annotations

import pytest

from benchmarks.storm.model.coldstart import ColdStart
from benchmarks.storm.model.environment import DEAD, FROZEN, INIT, INVOKE, Environment, IllegalMove
from benchmarks.storm.model.fleet import Fleet
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.scaling import Pool

FUNCTION = Function("f")


def fleet_of(count: int, provisioned: int = 0) -> tuple[Fleet, list[Environment]]:
    """On-demand environments, then provisioned ones, all in INIT."""
    fleet = Fleet(FUNCTION, Pool(1000, provisioned))
    made = [
        Environment(number, FUNCTION, 0.0, cold_start=ColdStart(0.1, 0.1), provisioned=number > count)
        for number in range(1, count + provisioned + 1)
    ]
    for environment in made:
        fleet.add(environment)
    return fleet, made


def test_every_environment_is_in_one_state() -> None:
    fleet, (first, second, third) = fleet_of(2, provisioned=1)
    fleet.move(first, INVOKE, 1.0)
    fleet.move(third, FROZEN, 1.0)
    assert repr(fleet) == "<Fleet f: 1 INIT, 1 INVOKE, 1 FROZEN>"
    assert set(fleet) == {first, second, third}
    fleet.move(first, DEAD, 2.0)
    assert (set(fleet), len(fleet)) == ({second, third}, 2)


def test_the_pool_counts_busy_ones_on_demand() -> None:
    fleet, (first, second, third) = fleet_of(2, provisioned=1)
    counts = [fleet.pool.in_flight]
    for environment, state in (
        (first, INVOKE),
        (third, FROZEN),
        (third, INVOKE),
        (first, FROZEN),
        (second, DEAD),
    ):
        fleet.move(environment, state, 1.0)
        counts.append(fleet.pool.in_flight)
    assert counts == [2, 2, 2, 2, 1, 0]
    assert fleet.provisioned == 1
    fleet.move(third, DEAD, 2.0)
    assert (fleet.provisioned, fleet.pool.in_flight) == (0, 0)


def test_the_warmest_is_the_one_frozen_last_of_its_kind() -> None:
    fleet, (first, second, third) = fleet_of(2, provisioned=1)
    assert fleet.warmest(provisioned=False) is None
    for environment in (second, first, third):
        fleet.move(environment, FROZEN, 1.0)
    assert fleet.warmest(provisioned=False) is first
    assert fleet.warmest(provisioned=True) is third
    fleet.move(first, INVOKE, 2.0)
    assert fleet.warmest(provisioned=False) is second
    assert fleet.count(FROZEN) == 2


def test_an_illegal_move_changes_nothing() -> None:
    fleet, (first,) = fleet_of(1)
    fleet.move(first, DEAD, 1.0)
    with pytest.raises(IllegalMove):
        fleet.move(first, INVOKE, 2.0)
    assert (len(fleet), fleet.pool.in_flight, fleet.count(INIT)) == (0, 0, 0)
