"""What one invocation spent with its database, gathered by the sessions while its handler runs.

The runtime sets `METER` in the context of the invocation (or of the INIT) and reads it afterwards. How long a
pooler let a statement wait for a server cannot be seen from here: it is part of the statement's seconds.
All seconds are wall time. Must not know sessions or drivers.
"""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field

from benchmarks.storm.clients.errors import gist, label


@dataclass(slots=True)
class Meter:
    """The sums of one invocation."""

    connects: int = 0  #: sessions opened
    connect_seconds: float = 0.0  #: spent in `connect`, also in those that failed or were cut off
    #: per session whose first answer came in this invocation: the seconds of its connect and of its
    #: statements up to that answer. The time between them, a freeze after INIT above all, is not in it.
    first_answers: list[float] = field(default_factory=list)
    statements: int = 0  #: answered without an error
    statement_seconds: float = 0.0  #: of all statements
    errors: Counter[str] = field(default_factory=Counter)  #: by SQLSTATE or exception name
    examples: dict[str, str] = field(default_factory=dict)  #: one message for each of them

    def failed(self, error: BaseException) -> None:
        """Count an error."""
        name = label(error)
        self.errors[name] += 1
        self.examples.setdefault(name, gist(error))


METER: ContextVar[Meter | None] = ContextVar("METER", default=None)
"""Of the invocation under way; None where nobody wants to know."""
