"""Named statements of many clients on shared servers, message by message (sessions.md, rules 4 to 6 and 9)."""

from __future__ import annotations

from tests.dialogues.stage import Stage
from tests.dialogues.words import CLOSED, NO_DATA, PARAMETERS, PARSED, done, error, ready
from tests.support.messages import SYNC, close_statement, describe_statement, parse, query

ONE = "_poolproxy_1"


def test_what_a_failed_deallocate_leaves_is_closed_before_the_next_exchange(stage: Stage) -> None:
    server, client = stage.server(), stage.client()
    client >> parse("select 1", "s") + SYNC
    server << parse("select 1", ONE) + describe_statement(ONE) + SYNC
    server >> PARSED + PARAMETERS + NO_DATA + ready()
    client << PARSED + ready()
    client >> query("deallocate s")
    server << parse("", "s") + SYNC + query("deallocate s")
    server >> PARSED + ready() + done("DEALLOCATE")
    client << done("DEALLOCATE")
    client >> query("deallocate s")
    server << close_statement("s") + SYNC + query("deallocate s")
    server >> CLOSED + ready() + error("26000") + ready()
    client << error("26000") + ready()
    stage.nothing_more()
