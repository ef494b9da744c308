"""Why a server is kept by its client between transactions: a closed set of reasons, each with its end.

A reason is a metric label and a log field. `AUDITED` reasons end when an audit finds nothing of the kind any
more. `TAINTING` ones leave behind what no statement can undo (sessions.md, rule 13): such a server stays with
its client and is closed when that leaves.
"""

from __future__ import annotations

from typing import Final

#: Reason -> what it means, for the docs.
REASONS: Final[dict[str, str]] = {
    "session_mode": "the pool is in session mode",
    "temp_object": "a temporary object",
    "advisory_lock": "a session-level advisory lock",
    "holdable_cursor": "a cursor WITH HOLD",
    "sql_prepare": "a statement of SQL PREPARE",
    "listen": "LISTEN",
    "function": "a function of `pin_on`",
    "load": "LOAD",
    "seed": "setseed() or SET SEED",
    "dblink": "a named dblink connection",
    "replication": "a replication slot or origin",
    "backup": "an online backup",
    "unaudited": "what the session holds could not be found out, or not be repeated on another server",
}

#: What an audit finds, and finds gone: the pin ends with it.
AUDITED: Final = ("temp_object", "advisory_lock", "holdable_cursor", "sql_prepare", "listen")

TAINTING: Final = frozenset({"load", "seed", "dblink", "replication", "backup", "unaudited"})

#: What pins at once, whatever an audit says.
LASTING: Final = TAINTING | {"function"}
