"""Asking a server what it holds between transactions: the Query, and what its rows say (sessions.md, rule 3).

One Query, in an order that makes it blind to the client's own settings: READ COMMITTED before any snapshot
is taken, the role before it is laid down, the settings before two of them are lifted. All of it is SET LOCAL
and every name is qualified, so that neither a hostile search_path nor a statement_timeout reaches it. Must
not know connections.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from poolproxy.errors import UnexpectedServerAnswer
from poolproxy.session.assignments import literal
from poolproxy.session.channels import LENT
from poolproxy.session.custom import CustomNames
from poolproxy.session.parameters import ParameterSet, Reported, fragment_of, parameter_set
from poolproxy.session.prepared import PREFIX

#: The audit may take this long before a lock that it needs is given up.
_LOCK_TIMEOUT: Final = "1s"

#: Settings that a SET TRANSACTION leaves behind, falsely, and the one that the audit lifts itself.
_FALSE: Final = "transaction_isolation,transaction_read_only,transaction_deferrable,client_encoding"

#: What PostgreSQL takes for the name of a setting, custom ones included (guc.c: valid_custom_variable_name).
_NAME: Final = re.compile(r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$.\x80-\U0010ffff]*")

_BEGINNING: Final = f"""\
SET TRANSACTION ISOLATION LEVEL READ COMMITTED; \
SELECT 'role', pg_catalog.current_setting('role'), session_user; \
SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL role TO DEFAULT; \
SELECT 'default_role', pg_catalog.current_setting('role'), ''; \
SET LOCAL role TO 'none'; \
SET LOCAL client_encoding = 'UTF8'; \
SELECT CASE WHEN context OPERATOR(pg_catalog.=) 'superuser' THEN context ELSE 'setting' END, name, setting \
FROM pg_catalog.pg_show_all_settings() WHERE source OPERATOR(pg_catalog.=) 'session' \
AND name OPERATOR(pg_catalog.<>) ALL ('{{{_FALSE}}}'::pg_catalog.text[]); \
SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'; """

_END: Final = f"""\
SELECT 'left', 'advisory_lock', '' FROM pg_catalog.pg_lock_status() \
WHERE locktype OPERATOR(pg_catalog.=) 'advisory' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() \
UNION SELECT 'left', 'temp_object', '' WHERE EXISTS (SELECT FROM pg_catalog.pg_depend \
WHERE refclassid OPERATOR(pg_catalog.=) 2615 \
AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
UNION SELECT 'left', 'holdable_cursor', '' FROM pg_catalog.pg_cursor() WHERE is_holdable \
UNION SELECT 'channel', channel, '' FROM pg_catalog.pg_listening_channels() AS found (channel) \
UNION SELECT 'lent', '', '' WHERE pg_catalog.current_setting('{LENT}', true) OPERATOR(pg_catalog.=) '1' \
UNION SELECT CASE WHEN ours THEN 'ours' ELSE 'prepared' END, CASE WHEN ours THEN '' ELSE name END, \
pg_catalog.count(*)::pg_catalog.text FROM (SELECT name, \
NOT from_sql AND pg_catalog.starts_with(name, '{PREFIX.decode()}') AS ours \
FROM pg_catalog.pg_prepared_statement()) AS statement GROUP BY 1, 2"""


def audit_query(custom: CustomNames, held: Iterable[str] = ()) -> bytes:
    """The audit, with a look at all custom settings that anybody has named, and at those that are `held`."""
    return _query(custom.names(held))


@lru_cache(maxsize=64)
def _query(names: tuple[str, ...]) -> bytes:
    custom = ""
    if names:
        custom = (
            "SELECT 'setting', name, pg_catalog.current_setting(name, true) "
            f"FROM pg_catalog.unnest('{{{','.join(names)}}}'::pg_catalog.text[]) AS custom (name) "
            "WHERE pg_catalog.current_setting(name, true) OPERATOR(pg_catalog.<>) ''; "
        )
    return (_BEGINNING + custom + _END).encode("ascii")


class Audited:
    """What an audit has found. `left`: reasons to pin, in the order of pins.REASONS. `prepared`: the
    statements that go by names of the client's; `ours`: how many go by names of ours. `channels`: what the
    server listens to; `lent`: what it was lent is among it, if it is left. `unrepeatable`: a setting that
    another server would not take. `role`: the one in force."""

    __slots__ = ("channels", "left", "lent", "ours", "parameters", "prepared", "role", "unrepeatable")

    def __init__(
        self,
        parameters: ParameterSet,
        left: frozenset[str],
        prepared: frozenset[bytes],
        unrepeatable: bool,
        channels: frozenset[str] = frozenset(),
        lent: bool = False,
        role: str = "none",
        ours: int = 0,
    ) -> None:
        self.parameters = parameters
        self.left = left
        self.prepared = prepared
        self.unrepeatable = unrepeatable
        self.channels = channels
        self.lent = lent
        self.role = role
        self.ours = ours


def read_audit(rows: list[list[str]], before: ParameterSet, origin: Reported, reported: Reported) -> Audited:
    """What the rows of the audit say. `before`: what the books had; `origin`: what the server reported when
    it had just logged in, `reported`: what it reports now. Raises UnexpectedServerAnswer."""
    values: dict[str, str] = {}
    left: set[str] = set()
    prepared: set[bytes] = set()
    channels: set[str] = set()
    unrepeatable = lent = False
    role = default_role = "none"
    ours = 0
    escape = origin.value_of("server_encoding") != "SQL_ASCII"  # which has bytes, and no characters
    superuser = origin.value_of("is_superuser") == "on"
    for row in rows:
        if len(row) != 3:
            raise UnexpectedServerAnswer(what=f"a row of {len(row)} columns where 3 were asked for")
        kind, name, value = row
        if kind == "left":
            left.add(name)
        elif kind == "channel":
            channels.add(name)
        elif kind == "lent":
            lent = True
        elif kind == "ours":
            if not (value.isascii() and value.isdigit() and len(value) < 10):
                raise UnexpectedServerAnswer(what="a count that is no number")
            ours = int(value)
        elif kind == "prepared":
            prepared.add(name.encode("utf-8", "surrogateescape"))
        elif kind == "role":
            role = name
            if value != (origin.value_of("session_authorization") or value):
                values["session_authorization"] = literal(value, escape=True)
        elif kind == "default_role":
            default_role = name  # ALTER ROLE has given it one: RESET ROLE is not SET ROLE NONE (rule 8)
        elif _NAME.fullmatch(name) is None:
            # It will stand in SQL text, on other servers, too.
            raise UnexpectedServerAnswer(what="a setting by a name that none can have")
        else:
            unrepeatable = unrepeatable or (kind == "superuser" and not superuser)
            values[name.lower()] = fragment_of(name.lower(), value, escape)
    if role != default_role:
        values["role"] = literal(role, escape=True)
    for name, fragment in before.values.items():
        # An empty one is to PostgreSQL as if it had been reset; one with other letters was not asked for.
        if "." in name and (fragment == "''" or not name.isascii()):
            values.setdefault(name, fragment)
    encoding = reported.value_of("client_encoding")
    if encoding is not None and (
        "client_encoding" in before.values or encoding != origin.value_of("client_encoding")
    ):
        values["client_encoding"] = literal(encoding)
    if channels:
        left.add("listen")
    return Audited(
        parameter_set(values),
        frozenset(left),
        frozenset(prepared),
        unrepeatable,
        frozenset(channels),
        lent,
        role,
        ours,
    )
