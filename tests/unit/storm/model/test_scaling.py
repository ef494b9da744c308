from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.storm.model.function import Function
from benchmarks.storm.model.scaling import (
    SCALING_BURST,
    SCALING_RATE,
    Bucket,
    pools,
)


def scaling_bucket() -> Bucket:
    return Bucket(SCALING_BURST, SCALING_RATE)


def taken(bucket: Bucket, now: float) -> int:
    """How many there are to take."""
    count = 0
    while bucket.take(now):
        count += 1
    return count


def test_1000_at_once_then_1000_per_10_s_continuously() -> None:
    bucket = scaling_bucket()
    assert taken(bucket, 0.0) == 1000
    assert bucket.next_time(0.0) == pytest.approx(0.01)
    assert not bucket.take(0.005)
    assert taken(bucket, 0.01) == 1
    assert taken(bucket, 1.01) == 100
    assert taken(bucket, 11.01) == 1000


def test_what_is_not_used_does_not_accrue() -> None:
    bucket = scaling_bucket()
    assert taken(bucket, 0.0) == 1000
    assert taken(bucket, 100.0) == 1000
    assert taken(bucket, 105.0) == 500


def test_a_clock_that_stumbles_backwards_refills_nothing_twice() -> None:
    bucket = scaling_bucket()
    assert taken(bucket, 10.0) == 1000
    assert taken(bucket, 9.0) == 0
    assert taken(bucket, 10.0) == 0
    assert taken(bucket, 10.5) == 50


@given(
    st.integers(1, 50),
    st.floats(0.1, 500.0),
    st.lists(st.floats(0.0, 5.0), max_size=30),
    st.sampled_from([0.0, 1e6, 1.8e9]),
)
def test_never_more_than_capacity_plus_what_was_refilled(
    capacity: int, rate: float, pauses: list[float], epoch: float
) -> None:
    bucket = Bucket(capacity, rate)
    now, count = epoch, 0
    for pause in [0.0, *pauses]:
        now += pause
        count += taken(bucket, now)
        assert count <= capacity + (now - epoch) * rate + 0.01


@given(st.floats(0.1, 500.0), st.floats(0.0, 2e9))
def test_whoever_waits_until_next_time_gets_one(rate: float, now: float) -> None:
    bucket = Bucket(1, rate)
    assert bucket.take(now)
    if rate < 100 or now < 1e6:
        assert bucket.next_time(now) > now
    assert bucket.take(bucket.next_time(now))


def test_without_reservations_all_share_the_accounts_limit() -> None:
    made = pools([Function("a"), Function("b")])
    assert made["a"] is made["b"]
    assert made["a"].limit == 1000
    assert made["a"].requests.capacity == made["a"].requests.rate == 10_000


def test_reserved_is_taken_from_the_others_and_caps() -> None:
    made = pools([Function("a", reserved=400), Function("b"), Function("c", reserved=0)])
    assert [made[name].limit for name in "abc"] == [400, 600, 0]
    assert [made[name].requests.rate for name in "abc"] == [4000, 6000, 0]


def test_provisioned_is_set_aside() -> None:
    made = pools([Function("a", reserved=400, provisioned=100), Function("b", provisioned=50), Function("c")])
    assert [made[name].limit for name in "abc"] == [300, 550, 550]
    # But its requests are requests of the same quota.
    assert [made[name].requests.rate for name in "abc"] == [4000, 6000, 6000]


@pytest.mark.parametrize(
    ("functions", "limit", "message"),
    [
        ([Function("a", reserved=901)], 1000, r"at most 900 of 1000 \(100 stay unreserved\), not 901"),
        ([Function("a", reserved=600), Function("b", provisioned=301)], 1000, "not 901"),
        ([Function("a", reserved=1)], 10, "at most 0 of 10"),
    ],
)
def test_100_stay_unreserved(functions: list[Function], limit: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pools(functions, limit)


def test_all_but_100_may_be_reserved() -> None:
    made = pools([Function("a", reserved=900), Function("b")])
    assert made["b"].limit == 100


def test_a_small_account_that_reserves_nothing_is_fine() -> None:
    assert pools([Function("a")], 10)["a"].limit == 10


def test_a_pool_says_how_full_it_is() -> None:
    pool = pools([Function("a")], 2)["a"]
    pool.in_flight = 1
    assert (repr(pool), pool.full) == ("<Pool 1 of 2>", False)
    pool.in_flight = 2
    assert pool.full
