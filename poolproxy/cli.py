"""The command line: run, check, demo, healthcheck, version.

Data goes to standard output, messages to standard error; wrong settings end with 2, other failures with 1.
What a command needs is imported when it runs: a health check must not pay for the proxy's imports.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

if TYPE_CHECKING:
    from poolproxy.backend.control import Control
    from poolproxy.route import Route
    from poolproxy.settings import Settings
    from poolproxy.transport.poller import Poller

FAILED: Final = 1
BAD_SETTINGS: Final = 2

#: What `healthcheck` asks when nothing says otherwise; the same as in the settings (a test compares them).
DEFAULT_HTTP_HOST: Final = "0.0.0.0"
DEFAULT_HTTP_PORT: Final = "9127"

cli = typer.Typer(
    name="poolproxy",
    help="Many short-lived PostgreSQL clients on a small, bounded set of server connections.",
    no_args_is_help=True,
    add_completion=False,
    # Typer's own tracebacks print local variables, passwords among them.
    pretty_exceptions_enable=False,
)

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", envvar="POOLPROXY_CONFIG", help="Settings file (TOML)."),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Any setting, such as databases.app.pool_size=5; repeatable."
    ),
]


def _shortcut(setting: str, what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        f"--{setting.replace('_', '-')}", metavar="VALUE", help=f"{what} (POOLPROXY_{setting.upper()})"
    )
    return option


@cli.command()
def run(
    config: Config = None,
    listen_host: Annotated[str | None, _shortcut("listen_host", "Address that clients connect to.")] = None,
    listen_port: Annotated[str | None, _shortcut("listen_port", "Port that clients connect to.")] = None,
    http_port: Annotated[str | None, _shortcut("http_port", "Port of metrics and health.")] = None,
    pool_size: Annotated[str | None, _shortcut("pool_size", "Servers per (database, user).")] = None,
    pool_mode: Annotated[str | None, _shortcut("pool_mode", "transaction or session.")] = None,
    auth_method: Annotated[str | None, _shortcut("auth_method", "scram-sha-256, md5 or trust.")] = None,
    log_level: Annotated[str | None, _shortcut("log_level", "debug, info, warning or error.")] = None,
    assignments: Assignments = None,
) -> None:
    """Run the proxy until SIGTERM. DATABASE_URL in the environment is enough to start."""
    shortcuts = {
        "listen_host": listen_host,
        "listen_port": listen_port,
        "http_port": http_port,
        "pool_size": pool_size,
        "pool_mode": pool_mode,
        "auth_method": auth_method,
        "log_level": log_level,
    }
    settings = _load(
        config, assignments, {name: value for name, value in shortcuts.items() if value is not None}
    )
    from poolproxy import log

    log.configure(settings.log_level, settings.log_format)
    for line in settings.advice():
        log.get_logger().warning("settings", advice=line)
    from poolproxy.app import run as run_app
    from poolproxy.settings import InvalidSettings

    try:
        status = run_app(settings)
    except InvalidSettings as error:
        _refuse(error)
    raise typer.Exit(status)


@cli.command()
def check(
    config: Config = None,
    connect: Annotated[bool, typer.Option("--connect", help="Log in to each database as well.")] = False,
    assignments: Assignments = None,
) -> None:
    """Check the settings: 0 = good, 1 = a database could not be reached, 2 = the settings are wrong."""
    settings = _load(config, assignments, {})
    from poolproxy.access import advice, read_rules
    from poolproxy.app import check_file_limit
    from poolproxy.backend.providers import Providers
    from poolproxy.settings import InvalidSettings

    try:
        _, of_limits = check_file_limit(settings)
        of_rules = advice(read_rules(settings))
        Providers(settings)  # says what is missing
    except InvalidSettings as error:
        _refuse(error)
    for line in (*settings.advice(), *of_limits, *of_rules):
        typer.echo(f"warning: {line}", err=True)
    databases, users = len(settings.databases), len(settings.user_passwords())
    typer.echo(f"settings are good: {_count(databases, 'database')}, {_count(users, 'user')}")
    if connect and not _connect_all(settings):
        raise typer.Exit(FAILED)


@cli.command()
def demo(
    clients: Annotated[int, typer.Option(min=1, help="Clients in the storm.")] = 500,
    pool_size: Annotated[int, typer.Option(min=1, help="Server connections behind the proxy.")] = 20,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running at the end, until Ctrl-C.")] = False,
) -> None:
    """Show it: a private PostgreSQL, the proxy, and a storm of short-lived clients. Takes under a minute."""
    from poolproxy.demo import run_demo

    try:
        status = run_demo(clients=clients, pool_size=pool_size, keep=keep)
    except ValueError as error:
        typer.echo(f"poolproxy: {error}", err=True)
        status = BAD_SETTINGS
    raise typer.Exit(status)


@cli.command()
def healthcheck(
    config: Config = None,
    port: Annotated[int | None, typer.Option(help="HTTP port; otherwise as the settings say.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 3.0,
) -> None:
    """Ask the proxy on this machine whether it is alive: 0 = yes, 1 = no. For a container's HEALTHCHECK."""
    from http.client import HTTPConnection, HTTPException

    host, configured = _http_address(config, os.environ)
    connection = HTTPConnection(host, port if port is not None else configured, timeout=timeout)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        typer.echo(f"poolproxy: no answer from {host}:{connection.port}: {error}", err=True)
        raise typer.Exit(FAILED) from None
    finally:
        connection.close()
    if status != 200:
        typer.echo(f"poolproxy: /health answers {status}", err=True)
        raise typer.Exit(FAILED)


@cli.command()
def version() -> None:
    """Print the version."""
    from poolproxy import __version__

    typer.echo(f"poolproxy {__version__}")


def main() -> None:
    """The console script."""
    cli(prog_name="poolproxy")


def _load(config: Path | None, assignments: list[str] | None, shortcuts: Mapping[str, str]) -> Settings:
    from poolproxy.settings import InvalidSettings, load

    options = dict(shortcuts)
    for assignment in assignments or []:
        name, equals, value = assignment.partition("=")
        if not equals:
            _refuse(InvalidSettings("--set needs NAME=VALUE"))
        options[name.strip().replace(".", "__")] = value
    try:
        return load(config, os.environ, options)
    except InvalidSettings as error:
        _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    for line in str(error).splitlines():
        typer.echo(f"poolproxy: {line}", err=True)
    raise typer.Exit(BAD_SETTINGS) from None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _http_address(config: Path | None, environment: Mapping[str, str]) -> tuple[str, int]:
    """Where our own HTTP server is, read without the settings' machinery: this runs every few seconds."""
    written: dict[str, object] = {}
    if config is not None:
        import tomllib

        try:
            written = tomllib.loads(config.read_text())
        except (OSError, ValueError):
            typer.echo(f"poolproxy: {config} cannot be read", err=True)
            raise typer.Exit(BAD_SETTINGS) from None
    host = environment.get("POOLPROXY_HTTP_HOST") or str(written.get("http_host", DEFAULT_HTTP_HOST))
    port = environment.get("POOLPROXY_HTTP_PORT") or str(written.get("http_port", DEFAULT_HTTP_PORT))
    if not port.isdecimal():
        typer.echo("poolproxy: http_port is not a number", err=True)
        raise typer.Exit(BAD_SETTINGS)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(port)


def _connect_all(settings: Settings) -> bool:
    """Try every database whose url names a user, at once; one line each. False if one failed."""
    import asyncio

    from poolproxy.app import run_on_poller
    from poolproxy.auth.server_login import ScramKeyCache
    from poolproxy.backend.control import Control
    from poolproxy.backend.dialing import Dialer
    from poolproxy.backend.providers import Providers
    from poolproxy.router import Router
    from poolproxy.settings import ANY_DATABASE
    from poolproxy.transport.sockets import TcpOptions
    from poolproxy.transport.workers import Workers

    router = Router(settings, Providers(settings).provider)
    routes = list(router.fixed_routes())
    for name, database in settings.databases.items():
        location = database.location
        if location.user is None:
            typer.echo(f"{name}: {location.place}: not tried, its url names no user")
        elif name == ANY_DATABASE:
            routes.append(router.route(location.user, location.dbname or location.user))

    async def try_all(poller: Poller) -> list[tuple[bool, str]]:
        workers = Workers(2, asyncio.get_running_loop().call_soon_threadsafe)
        control = Control(Dialer(poller, TcpOptions(), workers), ScramKeyCache())
        return await asyncio.gather(*(_try(control, route) for route in routes))

    results = run_on_poller(try_all)
    for good, line in results:
        typer.echo(line, err=not good)
    return all(good for good, _ in results)


async def _try(control: Control, route: Route) -> tuple[bool, str]:
    """Log in as the proxy would, run init_query, and say in one line what was found."""
    from poolproxy.backend.connecting import describe
    from poolproxy.backend.control import UNANSWERED, usable
    from poolproxy.errors import shown
    from poolproxy.settings import place_of

    target = route.target
    label = shown(f"{route.database}: {place_of(target.host, target.port)} as {target.user}", 200)
    try:
        connection = await control.connect(target, route.server_connect_timeout)
        try:
            if route.init_query:
                await connection.execute(route.init_query)
            version = await connection.fetchval("SHOW server_version")
            allowed = await usable(connection, route.server_connect_timeout)
        finally:
            await connection.close(timeout=route.server_connect_timeout)
    except TimeoutError:
        return False, f"{label}: FAILED: no answer within {route.server_connect_timeout:g} s"
    except UNANSWERED as error:
        return False, f"{label}: FAILED: {shown(describe(error), 200)}"
    note = f", pool_size {route.pool_size} is more" if route.pool_size > allowed else ""
    return True, f"{label}: PostgreSQL {version}, {allowed} connections allowed{note}"
