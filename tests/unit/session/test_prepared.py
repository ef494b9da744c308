"""The books of named prepared statements: what is shared, what is pending, what goes first."""

from __future__ import annotations

import pytest

from poolproxy.errors import UnexpectedServerAnswer
from poolproxy.session.parameters import EMPTY, ParameterSet, parameter_set
from poolproxy.session.prepared import (
    NOBODYS,
    PREFIX,
    UNSETTLED,
    ClientStatements,
    Registry,
    ServerStatements,
    Statement,
    escaped,
    names_of_ours,
    shape_of,
    with_names,
)

BODY = b"select 1\0\0\0"


def make(registry: Registry | None = None, body: bytes = BODY) -> Statement:
    return (registry or Registry()).private(body, EMPTY, None)


class TestRegistry:
    def test_equal_parses_share_one_statement(self) -> None:
        registry = Registry()
        one = registry.shared(BODY, EMPTY, None)
        assert registry.shared(BODY, EMPTY, None) is one
        assert one.name.startswith(PREFIX)

    @pytest.mark.parametrize(
        ("body", "settings"),
        [
            (b"select 2\0\0\0", EMPTY),
            (b"select 1\0\0\1\0\0\0\x17", EMPTY),
            (BODY, parameter_set({"search_path": "'a'"})),
            (BODY, parameter_set({"client_encoding": "'LATIN1'"})),
            (BODY, parameter_set({"datestyle": "'German'"})),
        ],
    )
    def test_whatever_may_mean_something_else_is_another(self, body: bytes, settings: ParameterSet) -> None:
        registry = Registry()
        one = registry.shared(BODY, EMPTY, None)
        assert registry.shared(body, settings, None) is not one

    @pytest.mark.parametrize(
        "name",
        [
            "application_name",
            "statement_timeout",
            "lock_timeout",
            "client_min_messages",
            "log_statement",
            "app.tenant",
        ],
    )
    def test_settings_that_no_text_depends_on_do_not_part(self, name: str) -> None:
        registry = Registry()
        one = registry.shared(BODY, EMPTY, None)
        assert registry.shared(BODY, parameter_set({name: "'x'"}), None) is one

    def test_a_changed_catalogue_parts_old_from_new(self) -> None:
        registry = Registry()
        one = registry.shared(BODY, EMPTY, None)
        registry.epoch.advance()
        assert registry.shared(BODY, EMPTY, None) is not one

    def test_what_nobody_has_any_more_is_forgotten(self) -> None:
        registry = Registry()
        one = registry.shared(BODY, EMPTY, None)
        assert len(registry) == 1
        del one
        assert len(registry) == 0

    def test_private_ones_are_never_shared(self) -> None:
        registry = Registry()
        assert registry.private(BODY, EMPTY, None) is not registry.private(BODY, EMPTY, None)
        assert len(registry) == 0

    def test_parsed_again_it_has_the_types_it_was_found_to_have(self) -> None:
        one = make()
        assert one.again() == BODY
        one.types = b"\0\1\0\0\0\x17"
        assert one.again() == b"select 1\0" + one.types


class TestServer:
    def test_a_parse_counts_once_it_is_confirmed(self) -> None:
        one, server = make(), ServerStatements(10)
        server.expect(one, 3, False)
        held = server.find(one, 3)
        assert held is not None
        assert held.turn == 3
        server.confirm(one)
        assert held.turn == -1

    def test_an_injected_one_is_usable_when_it_has_been_described(self) -> None:
        one, server = make(), ServerStatements(10)
        server.expect(one, 3, True)
        server.confirm(one)
        held = server.find(one, 3)
        assert held is not None
        assert held.turn == 3
        assert server.described(one, b"\0\0", b"shape")
        assert (held.turn, held.injected, held.differs) == (-1, False, False)

    def test_another_description_is_told(self) -> None:
        one, first, second = make(), ServerStatements(10), ServerStatements(10)
        first.expect(one, 0, False)
        assert first.described(one, b"\0\0", b"int")
        second.expect(one, 0, True)
        assert not second.described(one, b"\0\0", b"text")
        held = second.find(one, 0)
        assert held is not None
        assert held.differs

    def test_a_parse_that_failed_is_not_there(self) -> None:
        one, server = make(), ServerStatements(10)
        server.expect(one, 0, False)
        server.failed(one)
        assert server.find(one, 0) is None
        assert server.take_surplus(True) == []

    def test_one_that_failed_before_it_was_described_is_closed(self) -> None:
        one, server = make(), ServerStatements(10)
        server.expect(one, 0, True)
        server.failed(one)
        assert server.take_surplus(True) == [one.name]

    def test_the_least_recently_used_go_first(self) -> None:
        registry, server = Registry(), ServerStatements(10)
        every = [make(registry) for _ in range(12)]
        for turn, one in enumerate(every):
            server.expect(one, turn, False)
            server.confirm(one)
        assert server.find(every[0], 20) is not None
        assert server.crowded(True)
        assert server.take_surplus(True) == [one.name for one in every[1:4]]  # two too many, and a tenth more
        assert not server.crowded(True)
        assert server.find(every[0], 21) is not None
        assert server.find(every[1], 21) is None

    def test_one_whose_parse_is_under_way_stays(self) -> None:
        registry, server = Registry(), ServerStatements(1)
        every = [make(registry) for _ in range(3)]
        for one in every:
            server.expect(one, 7, False)
        assert server.take_surplus(True) == []
        assert len(server) == 3

    def test_deallocate_all_empties_it(self) -> None:
        one, server = make(), ServerStatements(10)
        server.expect(one, 0, False)
        server.discard(one)
        server.literal.add(b"s")
        server.clear()
        assert (len(server), server.take_surplus(True), server.literal) == (0, [], set())


class TestClient:
    def test_a_name_stands_for_something_from_its_confirmation_on(self) -> None:
        one, client = make(), ClientStatements()
        assert client.find(b"s", 0, 0) is None
        client.expect(b"s", one, 0, True)
        client.confirm(b"s", one)
        assert client.find(b"s", 1, 1) is one
        assert client.size() == 1

    def test_within_its_exchange_it_is_known_at_once(self) -> None:
        one, client = make(), ClientStatements()
        client.expect(b"s", one, 4, False)
        assert client.find(b"s", 4, 4) is one

    def test_behind_an_unanswered_exchange_only_a_certain_one_is_known(self) -> None:
        one, client = make(), ClientStatements()
        client.expect(b"s", one, 4, False)
        assert client.find(b"s", 5, 4) is UNSETTLED
        assert client.unsettled(5, 4)
        client.expect(b"t", one, 4, True)
        assert client.find(b"t", 5, 4) is one

    def test_what_was_not_confirmed_is_forgotten_with_its_exchange(self) -> None:
        one, client = make(), ClientStatements()
        client.expect(b"s", one, 4, True)
        assert client.find(b"s", 5, 5) is None
        assert client.name_of(one.name) == b"s"  # errors about it may still come

    def test_a_close_behind_which_nothing_is_certain(self) -> None:
        one, client = make(), ClientStatements()
        client.confirm(b"s", one)
        client.expect(b"s", None, 2, False)
        assert client.find(b"s", 2, 2) is None
        assert client.find(b"s", 3, 2) is UNSETTLED
        assert client.find(b"s", 3, 3) is one  # it was skipped
        client.expect(b"s", None, 3, True)
        client.forget(b"s")
        assert client.find(b"s", 4, 4) is None

    def test_behind_a_deallocate_all_nothing_is_certain(self) -> None:
        one, client = make(), ClientStatements()
        client.confirm(b"s", one)
        client.expect_nothing(2)
        assert client.find(b"other", 2, 2) is UNSETTLED
        assert client.find(b"s", 3, 3) is one  # it failed
        client.expect_nothing(3)
        client.forget_all()
        assert client.find(b"s", 3, 3) is None

    def test_what_a_text_mentions(self) -> None:
        registry, client = Registry(), ClientStatements()
        one, two = make(registry), make(registry)
        client.confirm(b"Mine", one)
        client.confirm(b"yours", two)
        assert client.mentioned(b"execute mine", 0, 0) == [(b"Mine", one)]

    def test_another_server_settles_everything(self) -> None:
        one, client = make(), ClientStatements()
        client.expect(b"s", one, 4, False)
        client.detach()
        assert client.find(b"s", 5, 4) is None


def test_nobody_reaches_our_names() -> None:
    assert escaped(b"s") == b"s"
    assert escaped(PREFIX + b"1") == NOBODYS + PREFIX + b"1"


def test_errors_speak_of_the_clients_names() -> None:
    report = b'Mprepared statement "_poolproxy_7" does not exist\0Hnot "_poolproxy_8"\0\0'
    assert names_of_ours(report) == [b"_poolproxy_7", b"_poolproxy_8"]
    assert with_names(report, {b"_poolproxy_7": b"s"}.get) == (
        b'Mprepared statement "s" does not exist\0Hnot "_poolproxy_8"\0\0'
    )
    assert with_names(b'M"_poolproxy_none_poolproxy_1"\0\0', {}.get) == b'M"_poolproxy_1"\0\0'
    assert names_of_ours(b'Mprepared statement "s"\0\0') == []


@pytest.mark.parametrize("cut", [3, 5, 10, -1])
def test_what_is_no_description_of_rows(cut: int) -> None:
    column = b"name\0" + bytes(18)
    whole = b"\0\2" + column * 2
    assert shape_of(whole) == b"\0\2" + column[:-2] * 2
    for malformed in (whole[:cut], b"\0\1" + whole[2:], b"\xff\xff" + whole[2:], whole + b"x", b"\0\1\xff"):
        with pytest.raises(UnexpectedServerAnswer, match="malformed RowDescription"):
            shape_of(malformed)


def test_the_shape_of_rows_has_no_formats() -> None:
    def description(form: bytes) -> bytes:
        return b"\0\2" + b"".join(
            name + b"\0" + b"\0\0\0\1\0\2\0\0\0\x17\0\4\xff\xff\xff\xff" + form
            for name in (b"a", b"long name")
        )

    assert shape_of(description(b"\0\0")) == shape_of(description(b"\0\1"))
    assert shape_of(description(b"\0\0")) != shape_of(description(b"\0\0").replace(b"\x17", b"\x14"))
    assert shape_of(b"\0\0") == b"\0\0"
