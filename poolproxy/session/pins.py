"""Why a server is kept by its client between transactions: a closed set of reasons, each with its end.

A reason is a metric label and a log field. `TAINTING` reasons leave behind what no statement can undo
(sessions.md, rule 13): such a server is closed when its client leaves; every other one is reset with DISCARD
ALL.
"""

from __future__ import annotations

from typing import Final

#: Reason -> what it means, for the docs.
REASONS: Final[dict[str, str]] = {
    "session_mode": "the pool is in session mode",
    "sql_prepare": "SQL PREPARE or EXECUTE",
    "setting": "SET that is not plain, not alone or inside a transaction, set_config(), or pg_settings",
    "role": "SET ROLE or SET SESSION AUTHORIZATION",
    "listen": "LISTEN",
    "advisory_lock": "a session-level advisory lock",
    "temp_object": "a temporary object, or pg_temp",
    "holdable_cursor": "DECLARE ... WITH HOLD",
    "ddl": "DDL: it may make temporary objects",
    "code": "DO or CALL: code that may do anything",
    "sequence": "currval() or lastval()",
    "function_call": "a FunctionCall message",
    "large_text": "a statement too long to be looked at whole",
    "unclear": "a statement or an answer that was not understood",
    "load": "LOAD",
    "seed": "setseed() or SET SEED",
    "dblink": "a named dblink connection",
    "replication": "a replication slot or origin",
    "backup": "an online backup",
}

TAINTING: Final = frozenset(
    {"load", "seed", "dblink", "replication", "backup", "unclear", "function_call", "large_text"}
)
