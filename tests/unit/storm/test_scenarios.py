"""What the scenarios send, and when; and that each of their checks fails when it must."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from benchmarks.storm.histogram import Histogram
from benchmarks.storm.loading import HandlerSource
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import Invocation
from benchmarks.storm.model.service import Service
from benchmarks.storm.results import UNKNOWN, Check, Sample, Trial
from benchmarks.storm.runtime.forks import MOST
from benchmarks.storm.scenarios import SCENARIOS, STORMS
from benchmarks.storm.scenarios.freeze import Freeze
from benchmarks.storm.scenarios.kill import Kill, Vanish
from benchmarks.storm.scenarios.load import Load
from benchmarks.storm.scenarios.scenario import (
    NONE_KEPT,
    NOT_KNOWN,
    TINY,
    Arrival,
    Scenario,
    Underway,
    all_succeeded,
    at_least,
    at_most,
    ledger_clean,
    none_failed,
    servers_at_most,
)
from benchmarks.storm.scenarios.thaw import THAWED, Thaw
from benchmarks.storm.scenarios.tls import Tls

FORMS: dict[str, Callable[[type[Scenario]], Scenario]] = {
    "whole": lambda scenario: scenario(False),
    "quick": lambda scenario: scenario(True),
    "tiny": lambda scenario: scenario(True, 20),
}
every_scenario = pytest.mark.parametrize("name", SCENARIOS)
every_form = pytest.mark.parametrize("form", FORMS)


def made(name: str, form: str = "tiny") -> Scenario:
    return FORMS[form](SCENARIOS[name])


def sent(arrivals: Iterable[Arrival]) -> list[tuple[object, ...]]:
    return [(each.function, each.intended, each.kind, each.event()) for each in arrivals]


# What is sent.


@every_scenario
@every_form
def test_arrivals_are_in_order_and_the_same_under_a_seed(name: str, form: str) -> None:
    scenario = made(name, form)
    arrivals = list(scenario.arrivals(Random(7)))
    assert arrivals
    assert sent(arrivals) == sent(made(name, form).arrivals(Random(7)))
    assert all(earlier.intended <= later.intended for earlier, later in pairwise(arrivals))


@every_scenario
def test_another_seed_gives_other_arrivals_where_there_are_dice(name: str) -> None:
    one, other = ([each.intended for each in made(name).arrivals(Random(seed))] for seed in (1, 2))
    assert (one == other) == (name == "freeze")


@every_scenario
@every_form
def test_a_service_takes_what_the_scenario_deploys_and_sends(name: str, form: str) -> None:
    scenario = made(name, form)
    deployed = scenario.deployed()
    service = Service([each.function for each in deployed], account_limit=scenario.account_limit)
    for poller in scenario.pollers():
        service.attach(poller)
    for each in deployed:
        assert HandlerSource.find(each.handler)
    functions = {each.function.name for each in deployed}
    queues = {poller.queue for poller in scenario.pollers()}
    arrivals = list(scenario.arrivals(Random(1)))
    assert {each.function for each in arrivals if each.kind != "poller"} <= functions
    assert {each.function for each in arrivals if each.kind == "poller"} == queues
    assert json.loads(json.dumps(arrivals[0].event())) == arrivals[0].event()


@pytest.mark.parametrize("scenario", STORMS, ids=lambda scenario: scenario.name)
def test_a_quick_one_is_sent_within_a_minute_and_a_tiny_one_sooner(scenario: type[Scenario]) -> None:
    seconds = {}
    for form, make in FORMS.items():
        one = make(scenario)
        seconds[form] = max(each.intended for each in one.arrivals(Random(1))) / one.scale
    assert seconds["quick"] < 45
    assert seconds["tiny"] < 16
    assert seconds["tiny"] < seconds["quick"] + 0.1 < seconds["whole"] + 0.2  # there are dice in it


@every_scenario
def test_so_many_environments_as_were_asked_for(name: str) -> None:
    assert SCENARIOS[name](True, 20).environments == 20
    assert SCENARIOS[name](False, 20).environments == 20
    assert SCENARIOS[name](True).environments <= SCENARIOS[name](False).environments <= SCENARIOS[name].most


@every_scenario
def test_tiny_is_what_was_asked_for(name: str) -> None:
    assert made(name, "tiny").tiny
    assert not made(name, "quick").tiny
    assert not SCENARIOS[name](True, TINY + 1).tiny


def test_the_bar_of_the_ramp_is_a_thousand_in_ten_seconds() -> None:
    ramp = made("ramp", "whole")
    arrivals = list(ramp.arrivals(Random(1)))[:1000]
    assert arrivals[-1].intended == pytest.approx(9.99)
    first = invocation(0.0), invocation(9.99)
    assert [ramp.work(each) for each in first] == pytest.approx(
        [12.0, 2.01]
    )  # nobody is done before all are there


def test_a_spike_comes_within_a_second() -> None:
    arrivals = list(made("spike", "whole").arrivals(Random(1)))
    assert sum(each.intended <= 1.0 for each in arrivals) == 1000
    assert min(each.intended for each in arrivals[1000:]) > 3.0


@pytest.mark.parametrize(
    ("wanted", "functions", "environments"), [(20, 1, 20), (1001, 2, 1002), (5000, 5, 5000)]
)
def test_frozen_environments_are_shared_out_to_functions(
    wanted: int, functions: int, environments: int
) -> None:
    freeze = Freeze(False, wanted)
    assert (len(freeze.deployed()) - 1, freeze.environments) == (functions, environments)
    names = Counter(each.function for each in freeze.arrivals(Random(1)))
    assert names.pop("careless") == 40
    assert set(names.values()) == {2 * environments // functions}


def test_all_that_is_killed_or_cut_off_can_be_a_process() -> None:
    for scenario in (Kill, Vanish, Thaw):
        assert scenario.isolation == "process"
        assert scenario(False).environments == MOST == scenario.most


@pytest.mark.parametrize(
    ("form", "counts"),
    [("whole", (90, 90, 20)), ("quick", (20, 20, 20)), ("tiny", (7, 7, 6))],
)
def test_every_environment_thaws_and_is_another_one_s(form: str, counts: tuple[int, ...]) -> None:
    """All of a kind come at one moment, and nobody of them is done before all have come."""
    thaw = cast("Thaw", made("thaw", form))
    names = ("order", "careful", "careless")
    assert dict(zip(names, counts, strict=True)) == thaw.counts
    assert sum(counts) == thaw.environments
    moments: defaultdict[str, list[float]] = defaultdict(list)
    for arrival in thaw.arrivals(Random(1)):
        moments[arrival.function].append(arrival.intended)
    for name, count in zip(names, counts, strict=True):
        waves = [set(moments[name][at : at + count]) for at in range(0, 3 * count, count)]
        assert len(moments[name]) == 3 * count
        assert [len(wave) for wave in waves[1:]] == [1, 1]
        assert waves[1] == {thaw.thaw}
        groups = [group_of(thaw, min(wave), name) for wave in waves]
        assert groups == ["frozen", THAWED[name], "again"]
        done = {moment + thaw.work(invocation(moment, name)) for moment in waves[0]}
        assert max(waves[0]) <= min(done)
    # A server each, which they keep: the others have none left.
    for turn in range(3):
        begun = moments["careless"][turn * thaw.counts["careless"]]
        others = {name: moments[name][turn * thaw.counts[name]] for name in names[:2]}
        assert begun == thaw.thaw if turn == 1 else begun > max(others.values())


@pytest.mark.parametrize("form", FORMS)
def test_flows_are_lost_for_as_long_as_a_network_takes_to_forget_them(form: str) -> None:
    thaw = cast("Thaw", made("thaw", form))
    assert thaw.thaw - thaw.cut - 350.0 == pytest.approx(0.5 * thaw.scale)
    assert thaw.bound < 350.0 / thaw.scale == 10.0
    assert thaw.bound == thaw.limits.keepalive_idle + thaw.limits.keepalive_count + 1.0
    assert thaw.limits.idle_transaction == 0
    assert {each.function.timeout for each in thaw.deployed()} == {350.0}


def test_a_load_is_a_trace_where_there_is_one(tmp_path: Path) -> None:
    load = Load(False)
    load.trace = tmp_path / "trace"
    load.trace.write_text("0.5\n2,3\n", "utf-8")
    assert [each.intended for each in load.arrivals(Random(1))] == [0.5, 2.0, 2.0, 2.0]


def group_of(scenario: Scenario, intended: float, name: str) -> str:
    return scenario.group(invocation(intended, name))


# Checks.


def invocation(intended: float, name: str = "order") -> Invocation:
    deployed = Function(name)
    return Invocation("id", deployed, "event", "synchronous", intended, intended)


@dataclass
class Ended:
    """A trial that is over, and went well, unless a test plants something in it."""

    trial: Trial
    groups: defaultdict[str, Histogram]
    ended: defaultdict[str, Counter[str]]
    found: dict[str, float]

    def checks(self, scenario: Scenario) -> dict[str, Check]:
        nobody = cast("Any", None)
        underway = Underway(nobody, nobody, nobody, self.groups, self.ended, found=self.found)
        return {check.name: check for check in scenario.checks(self.trial, underway)}


def well(name: str) -> Ended:
    trial = Trial(name, "poolproxy", 1, "2026-11-28T08:00:00+00:00", 10.0)
    trial.outcomes = {"succeeded": 100}
    trial.ledger = {"acknowledged": 100, "faults": 0, "in_doubt": 0}
    trial.samples = [
        Sample(0.5, 20, 20, 0, 20, 20, 1.0, 10_000),
        Sample(1.0, 9, UNKNOWN, 0, 20, 3, 1.0, 9_000),
    ]
    if name == "tls":
        trial.samples[0].environments = 40  # of the API as well
    trial.errors = {"25P03": 20} if name == "freeze" else {}
    groups: defaultdict[str, Histogram] = defaultdict(Histogram)
    ended: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for group in (*("api", "api beside the flood", "api beside the ramp", "worker", "ramp"), *AFTERWARDS):
        groups[group].record(5.0)
        ended[group]["succeeded"] = 100
    for kind, thawed in THAWED.items():
        groups[thawed].record(250.0)
        ended[thawed]["succeeded" if kind == "careful" else "failed"] = 7
    for _ in range(40):
        trial.connect.record(2.0)
    found: dict[str, dict[str, float]] = {
        "deploy": {"replaced": 20, "left": 0},
        "kill": KILLED,
        "vanish": KILLED,
        "freeze": {
            "KiB": 2.0,
            "clients": 20,
            "in transaction": 20,
            "in transaction after": 0,
            "seconds": 3.1,
        },
        "thaw": {
            "clients before": 20,
            "in transaction before": 6,
            "clients after": 0,
            "in transaction after": 0,
            "seconds": 4.2,
            "without a link": 10.01,
        },
        "retry": {"outage": 1.3},
    }
    return Ended(trial, groups, ended, dict(found.get(name, {})))


AFTERWARDS = ("afterwards", "reads", "again")

KILLED: dict[str, float] = {
    "killed": 20,
    "in transaction before": 20,
    "waiting before": 0,
    "in transaction after": 0,
    "waiting after": 0,
    "seconds": 0.2,
}

Plant = Callable[[Ended], object]
FAILED: Plant = lambda over: over.trial.outcomes.update(failed=1)  # noqa: E731
UNSETTLED: Plant = lambda over: over.trial.outcomes.update(unsettled=1)  # noqa: E731
NOBODY: Plant = lambda over: over.trial.outcomes.clear()  # noqa: E731
FAULT: Plant = lambda over: over.trial.ledger.update(faults=1)  # noqa: E731
NO_WORD: Plant = lambda over: over.trial.ledger.update(acknowledged=0)  # noqa: E731
SERVERS: Plant = lambda over: setattr(over.trial.samples[0], "servers", 21)  # noqa: E731
UNSEEN: Plant = lambda over: over.trial.samples.clear()  # noqa: E731


def notes(**found: float) -> Plant:
    return lambda over: over.found.update({name.replace("_", " "): value for name, value in found.items()})


def without(name: str) -> Plant:
    return lambda over: over.found.pop(name)


def group(name: str, **outcomes: int) -> Plant:
    def plant(over: Ended) -> None:
        over.ended[name] = Counter(outcomes)

    return plant


def few(over: Ended, environments: int = 19) -> None:
    for sample in over.trial.samples:
        sample.environments = environments


def late(name: str) -> Plant:
    return lambda over: over.groups[name].record(1_100.0)


def unheard(name: str) -> Plant:
    return lambda over: over.groups.pop(name)


EVENTS = {"events not processed": [FAILED, UNSETTLED, NOBODY]}
ALL = {"failed invocations": [FAILED, UNSETTLED, NOBODY]}
LEDGER = {"ledger": [FAULT, NO_WORD]}
COMMON = {**LEDGER, "servers": [SERVERS, UNSEEN]}
PEAK: dict[str, list[Plant]] = {
    "environments at the peak": [lambda over: setattr(over.trial, "samples", []), few]
}
KILL = {
    **COMMON,
    "environments killed while they served": [notes(killed=19)],
    "servers in a transaction before": [
        notes(in_transaction_before=19),
        notes(in_transaction_before=UNKNOWN),
    ],
    "servers in a transaction after": [notes(in_transaction_after=1), notes(in_transaction_after=UNKNOWN)],
    "clients waiting after": [notes(waiting_after=1), notes(waiting_after=UNKNOWN)],
    "gone after": [without("seconds")],
    "invocations that failed afterwards": [
        group("afterwards", succeeded=20, failed=1),
        group("afterwards", succeeded=19),
        group("afterwards"),
    ],
}
PLANTED: dict[str, dict[str, list[Plant]]] = {
    "ramp": {**ALL, **COMMON, **PEAK},
    "spike": {**ALL, **COMMON, **PEAK},
    "diurnal": {**EVENTS, **COMMON},
    "deploy": {
        **ALL,
        **COMMON,
        "environments replaced": [notes(replaced=19)],
        "old environments left": [notes(left=1)],
    },
    "freeze": {
        **COMMON,
        "memory per frozen client, KiB": [notes(KiB=4.1), notes(KiB=UNKNOWN)],
        "clients that stood": [notes(clients=19)],
        "reads that failed": [group("reads", succeeded=40, failed=1), group("reads", succeeded=39)],
        "frozen in a transaction": [notes(in_transaction=19), notes(in_transaction=UNKNOWN)],
        "of their servers, not back in time": [
            notes(in_transaction_after=1),
            notes(in_transaction_after=UNKNOWN),
        ],
        "thawed, told 25P03": [lambda over: over.trial.errors.update({"25P03": 19})],
    },
    "kill": KILL,
    "vanish": KILL,
    "thaw": {
        **COMMON,
        "clients that stood frozen": [notes(clients_before=19), notes(clients_before=UNKNOWN)],
        "of them in a transaction": [notes(in_transaction_before=5), notes(in_transaction_before=UNKNOWN)],
        "clients not given up in time": [notes(clients_after=1), notes(clients_after=UNKNOWN)],
        "their servers, not back in time": [
            notes(in_transaction_after=1),
            notes(in_transaction_after=UNKNOWN),
        ],
        "given up after": [without("seconds")],
        "seconds without a link": [notes(without_a_link=9.9)],
        "thawed, told that the connection is lost": [
            group("order, thawed", failed=6, succeeded=1),
            group("order, thawed"),
        ],
        "thawed, failed though they connect again": [
            group("careful, thawed", succeeded=6, failed=1),
            group("careful, thawed", succeeded=6),
        ],
        "thawed in a transaction, could not commit": [
            group("careless, thawed", failed=5, succeeded=1),
            group("careless, thawed"),
        ],
        "commits in doubt": [
            lambda over: over.trial.ledger.update(in_doubt=1),
            lambda over: over.trial.ledger.clear(),
        ],
        "thawed, heard nothing until the timeout wall": [
            group(thawed, **{"timed out": 1}) for thawed in THAWED.values()
        ],
        "the longest waited for an error, s": [
            late("order, thawed"),
            late("careless, thawed"),
            unheard("order, thawed"),
            unheard("careless, thawed"),
        ],
        "invoked again, failed": [group("again", succeeded=20, failed=1), group("again", succeeded=19)],
        "connections made": [lambda over: setattr(over.trial, "connect", Histogram())],
    },
    "retry": {**EVENTS, **COMMON, "the database was away, s": [without("outage")]},
    "neighbour": {
        **ALL,
        **COMMON,
        "batches that failed": [group("worker"), group("worker", succeeded=9, dropped=1)],
        "p99 of the API, alone": [unheard("api")],
        "p99 of the API, beside the flood": [unheard("api beside the flood")],
    },
    "tls": {
        **ALL,
        **COMMON,
        "environments at the peak": [*PEAK["environments at the peak"], lambda over: few(over, 39)],
        "orders that failed": [group("ramp", succeeded=20, failed=1), group("ramp", succeeded=19)],
        "p99 of the API, alone": [unheard("api")],
        "p99 of the API, beside the ramp": [late("api beside the ramp"), unheard("api beside the ramp")],
    },
    "load": {**ALL, **LEDGER},
}


def judged(name: str) -> Scenario:
    """So many environments as `well` has; not a tiny one of `freeze`, which measures no memory."""
    scenario = made(name)
    if name == "freeze":
        scenario.asked = False
    return scenario


@every_scenario
def test_when_all_went_well_all_checks_pass(name: str) -> None:
    checks = well(name).checks(judged(name))
    assert [check for check in checks.values() if not check.passed] == []


@every_scenario
def test_no_check_is_without_something_planted(name: str) -> None:
    assert PLANTED[name].keys() == well(name).checks(judged(name)).keys()


@pytest.mark.parametrize(
    ("name", "check", "number"),
    [
        (name, check, number)
        for name, plants in PLANTED.items()
        for check, several in plants.items()
        for number in range(len(several))
    ],
)
def test_a_check_fails_when_it_must(name: str, check: str, number: int) -> None:
    over = well(name)
    PLANTED[name][check][number](over)
    assert not over.checks(judged(name))[check].passed


def test_a_tiny_freeze_measures_no_memory() -> None:
    over = well("freeze")
    over.found["KiB"] = 8.0
    check = over.checks(made("freeze"))["memory per frozen client, KiB"]
    assert (check.found, check.bar, check.passed) == ("8", "reported", True)


def test_the_quick_kill_has_as_many_in_transactions_as_there_are_servers() -> None:
    for environments, busy in ((5, "at least 5"), (200, "at least 20")):
        checks = well("kill").checks(Kill(False, environments))
        assert checks["servers in a transaction before"].bar == busy


# The words of a check.


@pytest.mark.parametrize(
    ("check", "found", "bar", "passed"),
    [
        (at_most("n", 20, 20), "20", "at most 20", True),
        (at_most("n", 20.5, 20), "20.5", "at most 20", False),
        (at_most("n", UNKNOWN, 20), NOT_KNOWN, "at most 20", False),
        (at_least("n", 20, 20), "20", "at least 20", True),
        (at_least("n", 19, 20), "19", "at least 20", False),
        (at_least("n", UNKNOWN, -5), NOT_KNOWN, "at least -5", False),
        (all_succeeded("n", {"succeeded": 3}), "0 of 3", "0", True),
        (all_succeeded("n", {"succeeded": 3, "throttled": 1}), "1 of 4", "0", False),
        (all_succeeded("n", {"succeeded": 3}, 4), "0 of 3", "0 of 4", False),
        (all_succeeded("n", {}), "0 of 0", "0", False),
    ],
)
def test_what_a_check_says(check: Check, found: str, bar: str, passed: bool) -> None:
    assert check == Check("n", found, bar, passed)


def test_without_a_ledger_nothing_is_claimed_of_it() -> None:
    trial = Trial("load", "mine", 1, "", 1.0)
    assert ledger_clean(trial) == Check("ledger", NONE_KEPT, "no fault", False)
    trial.ledger = {"acknowledged": 3, "faults": 1}
    assert ledger_clean(trial) == Check("ledger", "1 faults among 3 acknowledged", "no fault", False)


def test_servers_are_the_most_that_were_seen() -> None:
    trial = well("ramp").trial
    assert servers_at_most(trial, 20) == Check("servers", "20", "at most 20", True)
    for sample in trial.samples:
        sample.servers = UNKNOWN
    assert servers_at_most(trial, 20) == Check("servers", NOT_KNOWN, "at most 20", False)


def test_a_failure_is_counted_among_all() -> None:
    assert none_failed(well("ramp").trial) == Check("failed invocations", "0 of 100", "0", True)


def test_cold_starts_of_the_api_are_not_what_its_neighbour_is_held_against() -> None:
    neighbour = made("neighbour")

    def group(at: float, name: str = "api") -> str:
        return group_of(neighbour, at, name)

    assert [group(at) for at in (0.0, 1.9, 2.0)] == ["api, starting", "api, starting", "api"]
    flood = min(arrival.intended for arrival in neighbour.arrivals(Random(1)) if arrival.kind == "poller")
    assert [group(flood - 0.01), group(flood)] == ["api", "api beside the flood"]
    assert group(flood, "worker") == "worker"


@pytest.mark.parametrize(("form", "alone"), [("whole", 8.0), ("quick", 4.0), ("tiny", 1.0)])
def test_the_api_stands_alone_before_it_stands_beside_a_ramp(form: str, alone: float) -> None:
    tls = cast("Tls", made("tls", form))
    arrivals = list(tls.arrivals(Random(1)))
    orders = [each.intended for each in arrivals if each.function == "order"]
    assert len(orders) == tls.environments
    assert (tls.begin, orders[0]) == (2.0 + alone, 2.0 + alone)
    assert orders[-1] - orders[0] == pytest.approx((tls.environments - 1) / 100)  # Lambda's own rate
    groups = [group_of(tls, at, "api") for at in (1.99, 2.0, tls.begin - 0.01, tls.begin)]
    assert groups == ["api, starting", "api", "api", "api beside the ramp"]
    assert group_of(tls, tls.begin, "order") == "ramp"
    counts = Counter(group_of(tls, each.intended, each.function) for each in arrivals)
    assert counts["api beside the ramp"] == pytest.approx(50 * (tls.end - tls.begin), rel=0.5)
    assert counts["api"] == pytest.approx(50 * alone, rel=0.5)


def test_all_environments_of_the_ramp_are_there_at_once_and_the_api_waits_for_nobody() -> None:
    tls = made("tls", "whole")
    first, last = (invocation(at) for at in (10.0, 19.99))
    assert [at.intended + tls.work(at) for at in (first, last)] == pytest.approx([22.0, 22.0])
    assert tls.work(invocation(15.0, "api")) == 0.0
    (api,) = (each.function for each in tls.deployed() if each.function.name == "api")
    assert api.provisioned == 20  # none of its own starts beside the ramp
    assert tls.account_limit - api.provisioned >= tls.most
