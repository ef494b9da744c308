"""`deploy/lambda` after the network has forgotten its flow: in a namespace whose link is cut. Needs root and
`ip`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from benchmarks.storm.clock import Clock
from benchmarks.storm.runtime.namespaces import Namespace
from benchmarks.storm.runtime.processes import ProcessHost, ProcessRuntime
from benchmarks.storm.runtime.runtime import Request
from tests.support.alone import alone
from tests.support.cluster import DATABASE, PASSWORDS, make_postgres
from tests.support.proxy import ProxyProcess
from tests.support.waiting import eventually

#: It may have to wait for its turn.
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "lambda"
UNANSWERED = 3.0
SYN_SENT = "02"  # proc(5), /proc/net/tcp


def connecting(pid: int) -> bool:
    """Whether somebody in the process's network namespace waits for a connection to be taken."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text("ascii").splitlines()[1:]
    return any(line.split()[3] == SYN_SENT for line in lines)


async def test_a_flow_that_was_forgotten_without_a_word(tmp_path: Path) -> None:
    """The BEGIN goes nowhere: after UNANSWERED the handler connects anew, and the upload is stored."""
    if os.geteuid() != 0:
        pytest.fail("a network namespace needs root: sudo make test-system")
    event = json.loads((FOLDER / "event.json").read_text("utf-8"))
    with alone(), Namespace() as namespace, make_postgres() as postgres:
        schema = (FOLDER / "schema.sql").read_text("utf-8")
        postgres.sql(f"{schema}; grant all on upload to public", DATABASE)
        secret = PASSWORDS["app"]
        settings = {
            "databases": {DATABASE: {"url": f"postgres://{postgres.host}:{postgres.port}/{DATABASE}"}},
            "users": {"app": {"password": secret}},
        }
        proxy = ProxyProcess(tmp_path, settings, {"POOLPROXY_LISTEN_HOST": namespace.host_address})
        url = f"postgres://app:{quote(secret)}@{namespace.host_address}:{proxy.port}/{DATABASE}"
        variables = {**os.environ, "DATABASE_URL": url}
        handler = f"{FOLDER / 'handler.py'}:handler"
        host = ProcessHost(handler, Clock(), variables=variables, command=namespace.command)
        try:
            runtime = await host.make()
            assert isinstance(runtime, ProcessRuntime)
            assert not (await runtime.initialise()).failed
            runtime.freeze()
            namespace.cut()
            runtime.thaw()
            began = time.monotonic()
            running = asyncio.create_task(runtime.invoke(Request("i-1", 1, event, "store", 512, 1, 30.0)))
            await asyncio.to_thread(eventually, lambda: connecting(runtime.pid), "it connects anew")
            noticed = time.monotonic() - began
            namespace.mend()
            answer = await running
            assert not answer.failed, answer
            assert UNANSWERED <= noticed < UNANSWERED + 2
            assert postgres.sql("select count(*) from upload", DATABASE) == "1"
            assert len([line for line in proxy.log if line["event"] == "client logged in"]) == 2
        finally:
            await host.close()
            assert proxy.stop() == 0
