"""The composition root: builds everything, wires it, drains. The only module that knows all others."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from poolproxy import __version__, metrics
from poolproxy.access import advice, read_rules, read_tls
from poolproxy.auth.credentials import Credentials, process_key
from poolproxy.auth.hba import Rules
from poolproxy.backend.dialing import Dialer
from poolproxy.backend.inquiring import Question
from poolproxy.backend.passing import PassThrough
from poolproxy.backend.pools import Pools
from poolproxy.backend.providers import Providers
from poolproxy.backend.trying import Trials
from poolproxy.counters import Histogram
from poolproxy.errors import PoolproxyError
from poolproxy.event_loop import EventLoop
from poolproxy.frontend.door import FrontDoor
from poolproxy.frontend.encrypting import ClientEncryption
from poolproxy.http import HttpServer, start_http
from poolproxy.log import get_logger
from poolproxy.pool.snapshot import PoolSnapshot, ProcessSnapshot
from poolproxy.renewal import Renewal
from poolproxy.router import Router
from poolproxy.settings import Settings, fit_descriptors
from poolproxy.tls import ClientTls
from poolproxy.transport.listener import Listener
from poolproxy.transport.pacer import pacer_of
from poolproxy.transport.poller import Pollable, Poller
from poolproxy.transport.sockets import TcpOptions, listen_tcp, listen_unix
from poolproxy.transport.stream import Stream
from poolproxy.transport.ticker import Ticker
from poolproxy.transport.watch import StallWatch
from poolproxy.transport.workers import Workers

T = TypeVar("T")

_log = get_logger()

#: Seconds between two looks at who waits for something, between two at everybody else, and between two
#: measurements of how late this thread is.
TICK = 0.1
SWEEP = 0.5
WATCH = 0.05

#: New objects between two looks of the garbage collector: connections are freed by their reference counts,
#: and Python's 700 would have it look every hundred logins.
COLLECT_EVERY = 20_000

#: Seconds between two looks for clients that have become idle while draining.
DISMISS_EVERY = 0.25


class App:
    """One running proxy."""

    def __init__(
        self, settings: Settings, poller: Poller, rules: Rules | None = None, tls: ClientTls | None = None
    ) -> None:
        """`poller` is served by whoever runs the event loop; `rules`: who may come in; `tls`: what they
        are shown."""
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._poller = poller
        pacer_of(poller)  # takes its descriptor now, not in the midst of bulk data when there may be none
        options = TcpOptions(
            settings.tcp_keepalive_idle,
            settings.tcp_keepalive_interval,
            settings.tcp_keepalive_count,
            settings.tcp_user_timeout,
        )
        self._options = options
        router = Router(settings, Providers(settings).provider, PassThrough().provider)
        salt_key = process_key(settings.mock_salt_key.get_secret_value())
        credentials = Credentials.from_passwords(settings.user_passwords(), salt_key)
        self._workers = Workers(settings.max_tls_handshakes, self._loop.call_soon_threadsafe)
        self._renewal = Renewal(tls) if tls is not None else None
        self._encryption = ClientEncryption(
            tls, settings.client_tls_mode, self._workers, settings.tls_hostnames()
        )
        self._door = FrontDoor(self._poller, settings, router, credentials, rules, self._encryption)
        dialer = Dialer(poller, options, self._workers)
        self._pools = Pools(dialer, settings.max_pools, self._door.count_cancel, self._door.fail_waiters)
        self._door.pools = self._pools
        self._door.trials = self._trials = Trials(dialer)
        where = router.lookup_route()
        if where is not None:
            # A client has the other half of its time for its own part.
            timeout = min(settings.client_login_timeout / 2, where.server_connect_timeout)
            question = Question(settings.auth_query, settings.auth_query_ttl, timeout, where)
            self._door.inquirer = self._pools.inquirer(question, salt_key)
        for route in router.fixed_routes():
            if route.min_pool_size:
                self._pools.pool(route)
        self._stalls = Histogram()
        self._watch = StallWatch(self._poller, WATCH, self._stalls.observe)
        self._tickers = (Ticker(poller, TICK, self._door.tick), Ticker(poller, SWEEP, self._sweep))
        self._unix_socket = ""
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    # Running.

    async def run(self) -> int:
        """Serve until told to stop; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._asked_to_stop)
        self._loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        async with AsyncExitStack() as leaving:  # a start that fails half-way leaves nothing behind either
            for timer in (*self._tickers, self._watch):
                leaving.callback(timer.close)
            leaving.callback(self._workers.close)
            leaving.push_async_callback(self._pools.close)
            leaving.push_async_callback(self._trials.close)
            leaving.callback(self._stop_listening)
            self._listen()
            gc.collect()
            gc.freeze()  # what exists now lives as long as the process: no collection need look at it
            gc.set_threshold(COLLECT_EVERY, *gc.get_threshold()[1:])
            for timer in (*self._tickers, self._watch):
                timer.start()
            http = await self._start_http()  # its log line says that all is up
            leaving.push_async_callback(http.close)
            await self._stopping.wait()
            await self._drain()
        _log.info("stopped")
        return 0

    async def _start_http(self) -> HttpServer:
        settings = self._settings
        http = await start_http(
            settings.http_host, settings.http_port, partial(metrics.render, self), self._is_ready
        )
        _log.info("http listening", host=settings.http_host, port=http.port)
        return http

    def _listen(self) -> None:
        settings = self._settings
        sockets = listen_tcp(settings.listen_host, settings.listen_port, self._options)
        port = sockets[0].getsockname()[1]
        if settings.unix_socket_dir:
            try:
                unix = listen_unix(settings.unix_socket_dir, port, int(settings.unix_socket_mode, 8))
            except OSError:
                for sock in sockets:
                    sock.close()
                raise
            self._unix_socket = unix.getsockname()
            sockets.append(unix)
        for sock in sockets:
            self._door.listeners.append(
                Listener(self._poller, sock.detach(), self._door.accept, self._door.exhausted)
            )
        _log.info("listening", host=settings.listen_host, port=port, version=__version__)

    def _sweep(self, now: float) -> None:
        self._door.sweep(now)
        self._pools.sweep(now)
        if self._renewal is not None:
            self._renewal.look(now)

    # Stopping.

    def _asked_to_stop(self) -> None:
        (self._hurry if self._stopping.is_set() else self._stopping).set()

    def _asked_to_reload(self) -> None:
        if self._renewal is not None:
            self._renewal.read()
        _log.info("SIGHUP: certificates are read again, settings at start only")

    def _is_ready(self) -> bool:
        return bool(self._door.listeners) and not self._stopping.is_set()

    async def _drain(self) -> None:
        """Idle clients leave at once, transactions finish, and nobody stays longer than drain_timeout."""
        _log.info("draining", clients=len(self._door.clients), seconds=self._settings.drain_timeout)
        self._door.drain()
        self._stop_listening()
        deadline = time.monotonic() + self._settings.drain_timeout
        while self._door.dismiss_idle() and time.monotonic() < deadline and not self._hurry.is_set():
            try:
                async with asyncio.timeout(min(DISMISS_EVERY, max(0.01, deadline - time.monotonic()))):
                    await self._hurry.wait()
            except TimeoutError:
                continue
        self._door.dismiss_all()

    def _stop_listening(self) -> None:
        for listener in self._door.listeners:
            listener.close()
        self._door.listeners.clear()
        # Once: by the end of the drain it may be another process's.
        socket, self._unix_socket = self._unix_socket, ""
        if socket:
            Path(socket).unlink(missing_ok=True)

    # Snapshots.

    def process_snapshot(self) -> ProcessSnapshot:
        door = self._door
        counts, total = self._stalls.snapshot()
        return ProcessSnapshot(
            tasks=len(asyncio.all_tasks(self._loop)),
            clients_login=len(door.logins),
            clients_connected=len(door.clients) + len(door.logins),
            clients_encrypted=door.encrypted,
            client_limit=self._settings.max_client_connections,
            draining=self._stopping.is_set(),
            accepting=any(listener.accepting for listener in door.listeners),
            logins=dict(door.login_results),
            rejections=dict(door.rejections),
            handshakes=dict(self._encryption.handshakes),
            handshakes_waiting=self._workers.waiting,
            pauses=dict(door.pauses),
            cancels=dict(door.cancels),
            errors=dict(door.errors),
            lookups=dict(door.inquirer.results) if door.inquirer is not None else {},
            stall_counts=counts,
            stall_total=total,
            stall_longest=self._watch.longest,
            databases=self._pools.databases(),
        )

    def pool_snapshots(self) -> Iterator[PoolSnapshot]:
        for pool in self._pools:
            yield pool.snapshot(time.monotonic())


def _broken(pollable: Pollable, error: Exception) -> None:
    """A handler raised: what it was told is wrong, or it is; its connection ends and no other."""
    handler = pollable.handler if isinstance(pollable, Stream) else None
    if isinstance(error, PoolproxyError):
        if handler is not None:  # else it has closed its stream already, and nobody is left to be told
            handler.fail(error)
        return
    _log.exception("internal error", handler=repr(handler), exc_info=error)
    if handler is not None:
        handler.fail(PoolproxyError())


def check_file_limit(settings: Settings) -> tuple[int, tuple[str, ...]]:
    """The open files that this process needs, and advice; InvalidSettings where the hard limit is too low."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return fit_descriptors(settings, 2**30 if hard == resource.RLIM_INFINITY else hard)


def raise_file_limit(settings: Settings) -> None:
    """Raise the soft limit of open files as far as needed; InvalidSettings where the hard one is too low."""
    needed, warnings = check_file_limit(settings)
    for line in warnings:
        _log.warning("settings", advice=line)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT and a drain; a second signal hurries. Returns the exit code.

    Raises InvalidSettings where what they name cannot be used."""
    raise_file_limit(settings)
    rules = read_rules(settings)
    tls = read_tls(settings)
    for line in advice(rules):
        _log.warning("settings", advice=line)

    async def main(poller: Poller) -> int:
        return await App(settings, poller, rules, tls).run()

    try:
        return run_on_poller(main)
    except OSError as error:
        _log.error("cannot start", reason=str(error))
        return 1


def run_on_poller(main: Callable[[Poller], Coroutine[Any, Any, T]]) -> T:
    """Run `main` on an event loop that waits in the data plane's own poller, which it is given."""
    poller = Poller(_broken)
    with asyncio.Runner(loop_factory=partial(EventLoop, poller)) as runner:
        return runner.run(main(poller))
