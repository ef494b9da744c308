"""How the demo ends: what was promised and whether it held, and both storms side by side.

Pure, but for the rich objects it returns.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from poolproxy.demo.display import seconds
from poolproxy.demo.figures import TOO_MANY_CLIENTS, Figures


@dataclass(slots=True, frozen=True)
class Promise:
    """One thing the proxy stands for, and whether this storm found it so."""

    text: str
    kept: bool


def promises(figures: Figures, limit: int, exit_status: int | None) -> list[Promise]:
    """What must hold of a storm through the proxy: `limit` servers at most, `exit_status` of its proxy."""
    recorded = "unknown" if figures.recorded is None else figures.recorded
    return [
        Promise(
            f"every client was served: {figures.served} of {figures.clients}",
            figures.served == figures.clients > 0,
        ),
        Promise(f"no client saw an error: {errors_text(figures.errors)}", figures.failures == 0),
        Promise(
            f"at most {limit} server connections: peak {figures.peak_servers}, "
            f"and {figures.peak_control} for control beside",
            0 < figures.peak_servers <= limit,
        ),
        Promise(
            f"every commit is in the database, once: {figures.transactions} seen, {recorded} recorded",
            figures.transactions == figures.recorded,
        ),
        Promise(f"the proxy drained and left on SIGTERM: exit status {exit_status}", exit_status == 0),
    ]


def errors_text(errors: Counter[str]) -> str:
    """`none`, or the number and its kinds, the most frequent first."""
    if not errors:
        return "none"
    kinds = ", ".join(f"{count} {error_name(kind)}" for kind, count in errors.most_common())
    return f"{sum(errors.values())} ({kinds})"


def error_name(kind: str) -> str:
    return "too many clients" if kind == TOO_MANY_CLIENTS else kind


def contrast(proxied: Figures, direct: Figures, *, plain: bool) -> Table:
    """Both storms side by side; `plain` leaves out what only a terminal can show."""
    table = Table(
        title=None if plain else f"The same storm of {proxied.clients} clients, twice",
        box=None if plain else box.ROUNDED,
        pad_edge=not plain,
        title_style="bold",
    )
    table.add_column("")
    table.add_column("through poolproxy", justify="right", style="" if plain else "green")
    table.add_column("straight at PostgreSQL", justify="right", style="" if plain else "red")
    rows = [
        ("clients served", *(f"{figures.served} of {figures.clients}" for figures in (proxied, direct))),
        ("errors", *(str(figures.failures) for figures in (proxied, direct))),
    ]
    for kind in sorted({*proxied.errors, *direct.errors}):
        rows.append((f"  {error_name(kind)}", *(str(figures.errors[kind]) for figures in (proxied, direct))))
    rows += [
        ("peak server connections", str(proxied.peak_servers), str(direct.peak_servers)),
        ("transactions", str(proxied.transactions), str(direct.transactions)),
        ("transactions/s", f"{proxied.mean_rate:.0f}", f"{direct.mean_rate:.0f}"),
        ("connect to commit, p50", seconds(proxied.latency(0.5)), seconds(direct.latency(0.5))),
        ("connect to commit, p99", seconds(proxied.latency(0.99)), seconds(direct.latency(0.99))),
        ("until every client was served", seconds(proxied.all_served), seconds(direct.all_served)),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def verdict(found: list[Promise], proxied: Figures) -> list[Text]:
    """A line for each promise, one for each kind of error the clients saw, and the conclusion."""
    lines = [
        Text.assemble(("kept    ", "green") if promise.kept else ("BROKEN  ", "bold red"), promise.text)
        for promise in found
    ]
    lines += [Text(f"        {kind}: {message}") for kind, message in sorted(proxied.examples.items())]
    broken = sum(not promise.kept for promise in found)
    if broken:
        conclusion = Text(f"{broken} of {len(found)} promises broken.", "bold red")
    else:
        shared = f"{proxied.clients} clients on {proxied.peak_servers} server connections"
        conclusion = Text(f"All promises kept: {shared}, and no error.", "bold green")
    return [*lines, Text(), conclusion]
