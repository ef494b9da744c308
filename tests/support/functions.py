"""Functions for environments under test, as people upload them; each test says what it wants in the event."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.storm.clients import Held
from benchmarks.storm.context import Context

held = Held()
made_in = os.getpid()
invocations = itertools.count(1)
left_behind: list[object] = []


async def initialise() -> None:
    if os.environ.get("STORM_TEST_INIT") == "connects":
        await held.session()


async def sql(event: dict[str, Any], context: Context) -> None:
    """Run the statements of the event, each an exchange; write the last one's rows where it says."""
    session = await held.session()
    rows: list[tuple[Any, ...]] = []
    for statement in event["sql"]:
        rows = await session.fetch(statement)
    write(event["to"], *(value for row in rows for value in row))


async def identify(event: dict[str, Any], context: Context) -> None:
    """Who it is, and the how many-th time it is called."""
    session = await held.session()
    ((backend,),) = await session.fetch("select pg_backend_pid()")
    write(event["to"], os.getpid(), made_in, os.getppid(), next(invocations), backend)


async def timers(event: dict[str, Any], context: Context) -> None:
    """Leave three timers behind: a task, a thread and a process, which may leave the environment's group.
    Each adds a byte to a file at each tick."""
    task, thread, process = (Path(event["to"] + kind) for kind in ("task", "thread", "process"))

    async def tick() -> None:
        while True:
            append(task)
            await asyncio.sleep(0.01)

    left_behind.append(asyncio.create_task(tick()))
    threading.Thread(target=endlessly, args=(lambda: append(thread),), daemon=True).start()
    left_behind.append(
        await asyncio.create_subprocess_exec(
            sys.executable, __file__, str(process), start_new_session=event.get("escapes", False)
        )
    )


def blocking(event: dict[str, Any], context: Context) -> None:
    """A plain function that blocks its process, with a loop of its own if it likes."""
    asyncio.run(asyncio.sleep(0.0))
    write(event["to"], threading.current_thread() is threading.main_thread())
    threading.Event().wait()


def remaining(event: dict[str, Any], context: Context) -> None:
    write(
        event["to"],
        context.get_remaining_time_in_millis(),
        context.aws_request_id,
        context.attempt,
        context.function_name,
        context.memory_limit_in_mb,
        context.log_stream_name,
    )


def leave(event: dict[str, Any], context: Context) -> None:
    """End the process, in the way that the event names."""
    match event["how"]:
        case "exit":
            sys.exit(event["status"])
        case "signal":
            os.kill(os.getpid(), event["number"])
        case "raise":
            raise LookupError("no such thing")


def endlessly(do: Callable[[], None]) -> None:
    while True:
        do()
        time.sleep(0.01)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b".")


def write(path: str, *values: object) -> None:
    """All at once, for somebody who waits for it."""
    half = Path(path + ".half")
    half.write_text(" ".join(map(str, values)), "utf-8")
    half.rename(path)


if __name__ == "__main__":  # the process that `timers` leaves behind
    endlessly(lambda: append(Path(sys.argv[1])))
