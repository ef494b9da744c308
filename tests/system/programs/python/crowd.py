"""What the Python programs share: telling lines of JSON, and 20 clients as threads or tasks."""

import asyncio
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

CLIENTS = int(os.environ["CLIENTS"])
_turn = threading.Lock()


def tell(client, step, answer):
    """One line: what `step` came to."""
    line = json.dumps([client, step, answer], default=str)
    with _turn:
        print(line, flush=True)


def threads(work, clients=CLIENTS):
    """Run work(n) for each client at once; the first failure is raised when all have ended."""
    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(work, n) for n in range(clients)]:
            done.result()


async def tasks(work, clients=CLIENTS):
    """Run `await work(n)` for each client at once."""
    await asyncio.gather(*(work(n) for n in range(clients)))
