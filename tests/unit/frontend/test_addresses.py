"""What is remembered of addresses: places are counted and given back, failures slow down."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from poolproxy.frontend import addresses
from poolproxy.frontend.addresses import FORGOTTEN, LONGEST_DELAY, MOST_HELD, Failures, Places, network_of


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.1:51000", "192.0.2.1"),
        ("[2001:db8::1]:51000", "2001:db8::/64"),
        ("[2001:db8:0:0:ffff::2]:1", "2001:db8::/64"),
        ("[2001:db8:0:1::1]:51000", "2001:db8:0:1::/64"),
        ("[::ffff:192.0.2.1]:51000", "192.0.2.1"),
        ("[::1]:5", "::/64"),
        ("unix", "unix"),
    ],
)
def test_what_counts_as_one_address(peer: str, network: str) -> None:
    assert network_of(peer) == network


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1), st.integers(0, 65535))
def test_who_has_one_address_of_a_64_has_all(address: IPv6Address, low: int, port: int) -> None:
    high = int(address) >> 64
    if high:
        one, other = IPv6Address(high << 64 | low), IPv6Address(high << 64)
        assert network_of(f"[{one}]:{port}") == network_of(f"[{other}]:1")
        assert network_of(f"[{IPv6Address((high ^ 1) << 64 | low)}]:1") != network_of(f"[{one}]:1")


class PlacesMachine(RuleBasedStateMachine):
    """Places beside books of our own: whoever comes and goes, in whatever order, each has one and gives it
    back."""

    limit = 2

    @initialize()
    def begin(self) -> None:
        self.places = Places(self.limit)
        self.holders: dict[int, str] = {}
        self.kept: list[tuple[float, str]] = []
        self.now = 0.0

    def counted(self) -> Counter[str]:
        return Counter([*self.holders.values(), *(network for _, network in self.kept)])

    @rule(holder=st.integers(0, 6), network=st.sampled_from("abc"))
    def take(self, holder: int, network: str) -> None:
        self.places.take(holder, network)
        self.holders[holder] = network
        assert self.places.beyond(holder) == max(0, self.counted()[network] - self.limit)

    @rule(holder=st.integers(0, 6), heir=st.integers(10, 16))
    def move(self, holder: int, heir: int) -> None:
        if heir not in self.holders:
            self.places.move(holder, heir)
            if holder in self.holders:
                self.holders[heir] = self.holders.pop(holder)

    @rule(holder=st.integers(0, 16))
    def give_back(self, holder: int) -> None:
        self.places.give_back(holder)
        self.holders.pop(holder, None)

    @rule(holder=st.integers(0, 16), seconds=st.integers(0, 5))
    def give_back_at(self, holder: int, seconds: int) -> None:
        self.places.give_back_at(holder, self.now + seconds)
        if holder in self.holders:
            self.kept.append((self.now + seconds, self.holders.pop(holder)))

    @rule(seconds=st.integers(0, 3))
    def tick(self, seconds: int) -> None:
        self.now += seconds
        self.places.tick(self.now)
        self.kept = [each for each in self.kept if each[0] > self.now]

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "places"):
            counted = self.counted()
            assert {network: self.places.of(network) for network in "abc" if self.places.of(network)} == {
                network: count for network, count in counted.items() if count
            }
            assert len(self.places) == counted.total()

    def teardown(self) -> None:
        if hasattr(self, "places"):
            for holder in list(self.holders):
                self.places.give_back(holder)
            self.places.tick(self.now + 10)
            assert repr(self.places) == "<Places 0 of 0 addresses, 0 kept>"


TestPlaces = PlacesMachine.TestCase


def test_places_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that a place is free at once: the number of connections bounds the others."""
    monkeypatch.setattr(addresses, "MOST_KEPT", 2)
    places = Places(5)
    for holder in range(4):
        places.take(holder, "a")
        places.give_back_at(holder, 9.0)
    assert (places.of("a"), len(places)) == (2, 2)
    places.tick(9.0)
    assert len(places) == 0


class TestFailures:
    def test_each_one_waits_twice_as_long_up_to_a_bound(self) -> None:
        failures: Failures[str] = Failures(0.2)
        assert [failures.note("a", 0.0) for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]

    def test_the_first_delay_may_be_above_the_bound(self) -> None:
        failures: Failures[str] = Failures(2 * LONGEST_DELAY)
        assert [failures.note("a", 0.0) for _ in range(3)] == [2 * LONGEST_DELAY] * 3

    def test_very_many_failures_are_no_overflow(self) -> None:
        failures: Failures[str] = Failures(0.2)
        assert {failures.note("a", 0.0) for _ in range(5000)} == {0.2, 0.4, 0.8, 1.6, 3.2, 5.0}

    def test_other_addresses_have_their_own(self) -> None:
        failures: Failures[str] = Failures(1)
        failures.note("a", 0.0)
        assert (failures.note("b", 0.0), failures.note("a", 0.0)) == (1, 2)

    def test_they_are_forgotten_when_there_are_none_for_a_while(self) -> None:
        failures: Failures[str] = Failures(1)
        assert failures.note("a", 0.0) == 1
        assert failures.note("a", FORGOTTEN - 1) == 2
        assert failures.note("a", 2 * FORGOTTEN - 2) == 4, "each one counts from the last"
        assert failures.note("a", 3 * FORGOTTEN - 2) == 1
        failures.due(5 * FORGOTTEN)
        assert failures.remembered() == 0

    def test_the_address_whose_last_failure_is_oldest_goes_first(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(addresses, "MOST_REMEMBERED", 2)
        failures: Failures[str] = Failures(1)
        for network in ("a", "b", "a", "c"):
            failures.note(network, 0.0)
        assert failures.remembered() == 2
        assert (failures.note("a", 0.0), failures.note("b", 0.0)) == (4, 1)

    @given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 40))))
    def test_memory_is_bounded_and_no_delay_is_out_of_range(self, events: list[tuple[int, float]]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(addresses, "MOST_REMEMBERED", 5)
            failures: Failures[str] = Failures(0.5)
            now = 0.0
            for network, seconds in events:
                now += seconds
                assert 0.5 <= failures.note(str(network), now) <= LONGEST_DELAY
                assert failures.remembered() <= 5

    def test_who_is_held_is_told_when_it_is_due_and_once(self) -> None:
        failures: Failures[str] = Failures(1)
        for holder, until in (("x", 2.0), ("y", 1.0), ("z", 3.0)):
            assert failures.hold(holder, until)
        failures.let_go("z")
        failures.let_go("nobody")
        assert failures.due(0.9) == []
        assert failures.due(1.0) == ["y"]
        assert failures.due(9.0) == ["x"]
        assert len(failures) == 0

    def test_held_answers_are_bounded(self) -> None:
        failures: Failures[int] = Failures(1)
        assert all(failures.hold(holder, 1.0) for holder in range(MOST_HELD))
        assert not failures.hold(-1, 1.0)
        assert failures.all() == list(range(MOST_HELD))
        assert failures.hold(-1, 1.0)
        assert repr(failures) == "<Failures of 0 addresses, 1 answers held back>"
