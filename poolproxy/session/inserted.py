"""What a client's batch is made to run for us, where no Query of ours can stand.

By a name of ours, so that neither the unnamed statement nor the unnamed portal is another one behind it. Must
not know connections.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from poolproxy.protocol import messages
from poolproxy.session.parameters import EMPTY
from poolproxy.session.pipeline import CLOSED, PARSED, Step
from poolproxy.session.prepared import PREFIX, Statement

#: Each marks the steps of one purpose: rule 14's and rule 15's (sessions.md).
FORGETTING: Final = Statement(PREFIX + b"forget", None, EMPTY, None, False)
LENDING: Final = Statement(PREFIX + b"lend", None, EMPTY, None, False)

#: What is answered to each of them that no step stands for: BindComplete and CommandComplete.
UNSTEPPED: Final = 2


def run_in_batch(mark: Statement, text: bytes) -> bytes:
    """Messages that run `text` in an open batch; `steps_of(mark)` go with them."""
    name = mark.name
    return (
        messages.parse(name, text)
        + messages.bind(name, name)
        + messages.execute(name)
        + messages.close(b"P", name)
        + messages.close(b"S", name)
    )


def steps_of(mark: Statement) -> Iterable[Step]:
    """Of one text. The first one's statement is the mark."""
    return Step(PARSED, True, mark), Step(CLOSED, True), Step(CLOSED, True)
