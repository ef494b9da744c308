"""What a run gave, as Markdown for docs/drivers.md."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from tests.suites import environment, running
from tests.suites.definitions import Place, Suite
from tests.suites.figures import Figures
from tests.suites.outcomes import Comparison, Run

SHOWN = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def counts(run: Run) -> str:
    found = run.counts()
    return ", ".join(f"{found[outcome]:,} {outcome}" for outcome in SHOWN if found[outcome])


def by_reason(numbers: Mapping[str, float], unit: str = "") -> str:
    return ", ".join(f"{reason} {number:,.0f}{unit}" for reason, number in numbers.items()) or "none"


def commands(suite: Suite) -> list[str]:
    """How to repeat it by hand, in our words: the placeholders are what the harness fills in."""
    place = Place("HOST", 0, "postgres", "PASSWORD")
    run = running.command(suite, place)
    variables = {**suite.environment(place)}
    shown = " ".join(f"{name}={value}" for name, value in variables.items()).replace("=0", "=PORT")
    text = shlex.join(["python", *run[1:]]).replace(":0/", ":PORT/")
    return [" ".join(environment.download_command(suite)), f"{shown} {text}".strip()]


def markdown(suite: Suite, comparison: Comparison, figures: Figures, server: str) -> str:
    """The section of one suite."""
    steady, kept = comparison.steady(), comparison.kept()
    resets = figures.total("poolproxy_handover_resets_total")
    lines = [
        f"### {suite.name} {suite.version}",
        "",
        (
            f"{date.today()}, PostgreSQL {server}, pool of {running.POOL_SIZE}, transaction mode. "
            f"Through the proxy {len(kept):,} of the {len(steady):,} tests that pass directly pass."
        ),
        "",
        "| | |",
        "| --- | --- |",
        *(f"| direct run {n} | {counts(run)} |" for n, run in enumerate(comparison.direct, 1)),
        f"| through the proxy | {counts(comparison.proxied)} |",
        f"| passed in some direct runs only, not compared | {len(comparison.flaky()):,} |",
        f"| exchanges | {figures.total('poolproxy_queries_total'):,.0f} |",
        f"| of these on a pinned server | {figures.pinned_share():.2%} (ceiling {suite.ceiling():.0%}) |",
        f"| pins | {by_reason(figures.by('poolproxy_pins_total', 'reason'))} |",
        f"| pin-seconds | {by_reason(figures.by('poolproxy_pinned_seconds_total', 'reason'), ' s')} |",
        f"| most servers in use at once | {figures.most_servers} |",
        f"| audits | {by_reason(figures.by('poolproxy_audits_total', 'result'))} |",
        f"| hand-over resets | {resets:,.0f} |",
        f"| answers out of step | {figures.total('poolproxy_out_of_sync_total'):,.0f} |",
        "",
        "```sh",
        f"python -m tests.suites {suite.name}   # which does:",
        *commands(suite),
        "```",
        "",
        "Versions: " + ", ".join(f"`{pinned}`" for pinned in environment.versions(suite)) + ".",
    ]
    if comparison.exceptions:
        lines += ["", "Exceptions:", ""]
        reasons: dict[str, list[str]] = {}
        for test, reason in comparison.exceptions.items():
            reasons.setdefault(reason, []).append(test)
        for reason, tests in reasons.items():
            lines.append(f"- {reason}")
            lines += [f"  - `{test}`" for test in tests]
    return "\n".join(lines)


def failures(comparison: Comparison, folder: Path) -> None:
    """Write what each lost test said, for whoever looks for the cause."""
    with (folder / "lost").open("w", encoding="utf-8") as file:
        for test in comparison.lost():
            file.write(f"===== {test}\n{comparison.proxied.texts.get(test, '')}\n")
