"""What the whole account holds to: its limits, its requests per second, its names, its seed."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

import benchmarks.storm.model.service
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.service import Service
from tests.unit.storm.model.account import Account


def flood(account: Account, count: int, now: float, function: str | None = None) -> dict[str, int]:
    """So many synchronous invocations in one moment; how many started, ran warm or were throttled."""
    found: dict[str, int] = {}
    for number in range(count):
        word = account.invoke(number, now, function=function)[0].split()
        kind = word[0] if word[0] in ("Start", "Run") else word[1]
        found[kind] = found.get(kind, 0) + 1
    return found


def test_an_account_has_1000_executions_at_once() -> None:
    account = Account(Function("f"), Function("g"))
    assert flood(account, 600, 0.0, "f") == {"Start": 600}
    assert flood(account, 600, 0.0, "g") == {"Start": 400, "throttled": 200}
    assert (account.service.in_flight, account.service.environments) == (1000, 1000)
    # Whoever is done makes room for all.
    account.initialised(1, 0.5)
    account.answered(1, 1.0)
    assert account.invoke("x", 1.0, function="g") == ["Start 1001"]
    assert account.invoke("y", 1.0, function="f") == ["y throttled"]


def test_a_function_grows_by_1000_and_then_by_100_a_second() -> None:
    account = Account(Function("f"), Function("g"), account_limit=10_000)
    assert flood(account, 1500, 0.0, "f") == {"Start": 1000, "throttled": 500}
    # Functions scale independently.
    assert flood(account, 1500, 0.0, "g") == {"Start": 1000, "throttled": 500}
    assert flood(account, 500, 1.0, "f") == {"Start": 100, "throttled": 400}
    assert flood(account, 2000, 11.0, "f") == {"Start": 1000, "throttled": 1000}


def test_1000_arrivals_in_10_s_all_start() -> None:
    account = Account(Function("f"))
    assert sum(len(account.invoke(number, number / 100)) for number in range(1000)) == 1000
    assert account.service.in_flight == 1000


def test_reserved_concurrency_is_a_guarantee_and_a_cap() -> None:
    account = Account(Function("kept", reserved=400), Function("other"))
    assert flood(account, 1000, 0.0, "other") == {"Start": 600, "throttled": 400}
    assert flood(account, 1000, 0.0, "kept") == {"Start": 400, "throttled": 600}


def test_reserved_0_never_runs() -> None:
    account = Account(Function("f", reserved=0))
    assert flood(account, 3, 0.0) == {"throttled": 3}


def test_provisioned_concurrency_spills_over_to_what_is_reserved() -> None:
    account = Account(Function("f", reserved=5, provisioned=2))
    account.begin(0.0)
    account.initialised(1, 0.5)
    account.initialised(2, 0.5)
    assert flood(account, 6, 1.0) == {"Run": 2, "Start": 3, "throttled": 1}


def test_provisioned_concurrency_is_not_the_others_even_when_it_is_idle() -> None:
    account = Account(Function("f", provisioned=300), Function("g"))
    account.begin(0.0)
    assert flood(account, 1000, 0.0, "g") == {"Start": 700, "throttled": 300}


def served(account: Account, count: int, now: float, **settings: Any) -> int:
    """How many of so many invocations, each answered before the next comes, were not throttled."""
    ran = 0
    for number in range(count):
        heard = account.invoke(number, now, **settings)
        if heard and heard[0].startswith("Run"):
            ran += 1
            account.answered(int(heard[0].split()[1]), now)
    return ran


def test_requests_per_second_are_ten_times_the_concurrency() -> None:
    account = Account(Function("f", reserved=3), Function("g"))
    account.warm(1)
    # 30 a second, full at first: the one that warmed it was one of them.
    assert served(account, 100, 0.0) == 29
    assert served(account, 100, 0.5) == 15
    assert served(account, 100, 10.0) == 30
    assert account.service.bill["f"].requests == 75


def test_requests_of_an_account_are_shared_by_those_without_reservations() -> None:
    account = Account(Function("f"), Function("g"), account_limit=10)
    account.warm(1)
    assert served(account, 80, 0.0, function="f") == 80
    account.invoke("x", 0.0, function="g")
    account.initialised(2, 0.0)
    account.answered(2, 0.0)
    assert served(account, 80, 0.0, function="g") == 18


def test_asynchronous_requests_are_not_limited() -> None:
    account = Account(Function("f", reserved=1))
    account.warm(1)
    assert served(account, 100, 0.0, kind="asynchronous") == 100


def test_what_was_throttled_for_concurrency_is_no_request() -> None:
    account = Account(Function("f", reserved=1))
    account.warm(1)
    account.invoke("busy", 0.0)
    assert flood(account, 50, 0.0) == {"throttled": 50}
    account.answered(1, 0.5)
    assert served(account, 50, 0.5) == 10


def test_how_much_was_waiting_for_a_connection() -> None:
    account = Account(Function("f", timeout=3))
    account.warm(1)
    account.invoke("a", 1.0)
    account.answered(1, 2.0, waited=0.5)
    account.invoke("b", 3.0)
    account.tick(6.0)
    account.service.waited(account.environments[1], 2.5)
    assert account.service.bill["f"].waiting == 3.0
    assert account.service.bill["f"].waiting_share == 0.75


def test_names_are_unique_and_known() -> None:
    with pytest.raises(ValueError, match="there are two functions named f"):
        Service([Function("f"), Function("f", memory=128)])
    account = Account(Function("f"), Function("g"))
    with pytest.raises(ValueError, match="there is no function h, only f, g"):
        account.invoke("a", 0.0, function="h")
    with pytest.raises(ValueError, match="kind is synchronous or asynchronous here, not 'poller'"):
        account.invoke("a", 0.0, "poller")
    with pytest.raises(ValueError, match="at most 900 of 1000"):
        Service([Function("f", reserved=901)])


def test_ids_are_request_ids_and_unique() -> None:
    account = Account(Function("f"))
    ids = {account.service.invoke("f", number, "synchronous", 0.0, 0.0)[0].id for number in range(1500)}
    assert len(ids) == 1500
    assert {len(each) for each in ids} == {36}
    assert {each[14] for each in ids} == {"4"}


def starts(seed: int, others: int) -> tuple[list[str], list[float]]:
    account = Account(Function("f"), Function("g"), seed=seed)
    ids = []
    for number in range(5):
        invocation, actions = account.service.invoke("f", number, "synchronous", 0.0, 0.0)
        account.heard(actions)
        ids.append(invocation.id)
    for number in range(others):
        account.invoke(number, 0.0, function="g")
    for number in range(5):
        account.invoke(number, 0.0)
    cold = [
        each for number, each in account.starts.items() if account.environments[number].function.name == "f"
    ]
    return ids, cold


def test_the_seed_is_the_only_chance() -> None:
    assert starts(1, others=0) == starts(1, others=0)
    assert starts(1, others=0) != starts(2, others=0)


def test_cold_starts_of_a_function_do_not_hang_on_other_functions() -> None:
    assert starts(1, others=0)[1] == starts(1, others=7)[1]


ALLOWED = sys.stdlib_module_names - {"asyncio", "socket", "selectors", "time", "datetime", "threading", "ssl"}


def test_the_model_knows_neither_clock_nor_network_nor_anything_else() -> None:
    folder = Path(benchmarks.storm.model.service.__file__).parent
    found = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
    strangers = {
        name
        for name in found
        if not f"{name}.".startswith("benchmarks.storm.model.") and name.partition(".")[0] not in ALLOWED
    }
    assert found >= {"heapq", "benchmarks.storm.model.timers"}
    assert strangers == set()
