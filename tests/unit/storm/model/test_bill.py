from __future__ import annotations

import pytest

from benchmarks.storm.model.bill import Bill, charge, milliseconds


@pytest.mark.parametrize(
    ("seconds", "billed"),
    [
        (0.0, 0),
        (0.0000001, 1),
        (0.001, 1),
        (0.0010001, 2),
        (0.8, 800),
        (10.8 - 10.0, 800),  # 0.8000000000000007: not 801
        (1e6 + 0.8 - 1e6, 800),
        (3.0, 3000),
    ],
)
def test_rounded_up_to_1_ms(seconds: float, billed: int) -> None:
    assert milliseconds(seconds) == billed


def test_five_million_requests_of_800_ms_at_512_mb() -> None:
    bill = Bill(memory=512, requests=5_000_000, duration=5_000_000 * 800)
    assert bill.gb_seconds == 2_000_000
    charged = charge([bill])
    assert round(charged.requests, 2) == 1.00
    assert round(charged.durations, 2) == 33.33
    assert round(charged.dollars, 2) == 34.33


def test_the_free_tier_is_a_switch_that_is_off() -> None:
    # The example of Lambda's pricing page: 3 million of 1 s at 512 MB beyond the free tier, $0.40 and (with a
    # price of two digits less there) $18.34.
    bill = Bill(memory=512, requests=3_000_000, duration=3_000_000 * 1000)
    assert round(charge([bill]).dollars, 2) == 25.60
    free = charge([bill], free_tier=True)
    assert (round(free.requests, 2), round(free.durations, 2)) == (0.40, 18.33)


def test_the_free_tier_is_one_for_the_account_and_pays_nothing_back() -> None:
    small = [Bill(memory=1024, requests=1000, duration=1_000_000) for _ in range(3)]
    assert charge(small, free_tier=True).dollars == 0.0
    large = [Bill(memory=1024, requests=600_000) for _ in range(2)]
    assert charge(large, free_tier=True).requests == pytest.approx(0.04)


def test_the_free_tier_is_not_for_provisioned_concurrency() -> None:
    bill = Bill(memory=1024, provisioned=1, requests=1_000_000, duration=1_000_000)
    assert charge([bill], free_tier=True) == charge([bill])


def test_each_run_is_rounded_by_itself_and_init_is_billed() -> None:
    bill = Bill(memory=1024)
    bill.ran(0.0101)
    bill.ran(0.0101)
    bill.initialised(0.2004)
    assert (bill.requests, bill.duration, bill.init) == (2, 22, 201)
    assert bill.gb_seconds == pytest.approx(0.223)


def test_runs_on_provisioned_concurrency_have_their_own_price() -> None:
    bill = Bill(memory=2048, provisioned=10)
    bill.ran(1.0, provisioned=True)
    bill.ran(1.0)
    bill.initialised(0.5, provisioned=True)
    assert (bill.gb_seconds, bill.provisioned_gb_seconds) == (2.0, 3.0)
    assert charge([bill]).durations == pytest.approx(2 * 0.0000166667 + 3 * 0.0000097222)


def test_keeping_provisioned_concurrency_is_rounded_up_to_5_minutes() -> None:
    bill = Bill(memory=1024, provisioned=1000)
    # The case of the pricing page, at our price: 1,000 of 1 GB for two hours are 7.2 million GB-s, $30.00.
    assert round(bill.provisioned_dollars(7200.0), 2) == 30.00
    assert bill.provisioned_dollars(1.0) == bill.provisioned_dollars(300.0) == pytest.approx(1.25001)
    assert bill.provisioned_dollars(301.0) == pytest.approx(2.50002)
    assert Bill(memory=1024).provisioned_dollars(7200.0) == 0.0


def test_how_much_was_waiting() -> None:
    bill = Bill(memory=512)
    assert bill.waiting_share == 0.0
    bill.ran(3.0)
    bill.ran(1.0, provisioned=True)
    bill.waiting += 1.0
    assert bill.waiting_share == 0.25
    # More than there was, by the rounding of two clocks, is all of it.
    bill.waiting += 3.1
    assert bill.waiting_share == 1.0
