"""From samples to markdown: medians, spreads, ratios against each rival, and whether the bar holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.figures import DEFAULT, EARLIER, TUNED, Bar, Figure
from benchmarks.workloads import Plan, Sample

US = "poolproxy"
RIVALS = (DEFAULT, TUNED, EARLIER)


@dataclass(slots=True)
class Outcome:
    """What one figure gave: for each target its samples by round, or why some are missing."""

    figure: Figure
    samples: dict[str, dict[int, Sample]]
    stalls: list[float] = field(default_factory=list)  #: seconds, ours, one per round
    failures: dict[str, str] = field(default_factory=dict)
    void: list[str] = field(default_factory=list)  #: runs that say nothing, and why

    def values(self, target: str) -> list[float]:
        return [sample.value for sample in self.samples.get(target, {}).values()]

    def ratios(self, rival: str) -> list[float]:
        """Ours over the rival's, both of the same round: what disturbs a whole round cancels out."""
        ours, theirs = self.samples.get(US, {}), self.samples.get(rival, {})
        return [
            ours[turn].value / theirs[turn].value
            for turn in ours.keys() & theirs.keys()
            if theirs[turn].value > 0
        ]

    def holds(self, bar: Bar) -> bool | None:
        """Whether our median is not above the bar; None when there is nothing to compare."""
        reached = self.ratios(bar.rival) if bar.rival else self.values(US)
        return median(reached) <= bar.limit if reached else None

    def verdict(self) -> str:
        """`pass` when every bar holds whose rival was there, `miss` when one does not, `-` when that cannot
        be said."""
        held = [self.holds(bar) for bar in self.figure.bars if bar.rival is None or bar.rival in self.samples]
        if self.figure.stall is not None and US in self.samples:
            held.append(median(self.stalls) * 1e3 <= self.figure.stall if self.stalls else None)
        if False in held:
            return "miss"
        return "-" if None in held or not held else "pass"


def number(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def spread(values: Sequence[float]) -> str:
    """`median (min..max)`."""
    if not values:
        return "-"
    return f"{number(median(values))} ({number(min(values))}..{number(max(values))})"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table; the first column is text, the others are numbers."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, rule, *rows])


def summary(outcomes: Sequence[Outcome], targets: Sequence[str]) -> str:
    """One row per figure: the median of every target, and how we stand against each bar."""
    rivals = [name for name in RIVALS if name in targets]
    heads = ["figure", "unit", *targets, *(f"/ {name} (bar)" for name in rivals), "verdict"]
    text = table(heads, [_summary_row(outcome, targets, rivals) for outcome in outcomes])
    stalls = [stall for outcome in outcomes for stall in outcome.stalls]
    worst = f"at most {number(max(stalls) * 1e3)} ms" if stalls else "not measured"
    return f"{text}\n\nLongest stall of poolproxy's data-plane thread in all of these: {worst}."


def _summary_row(outcome: Outcome, targets: Sequence[str], rivals: Sequence[str]) -> list[str]:
    figure = outcome.figure
    medians = [number(median(values)) if (values := outcome.values(name)) else "-" for name in targets]
    return [figure.title, figure.unit, *medians, *_standing(outcome, rivals), outcome.verdict()]


def _standing(outcome: Outcome, rivals: Sequence[str]) -> list[str]:
    """The cells against the rivals: ratio and bar, or a bar that has no rival."""
    cells: dict[str | None, str] = {None: "-"}
    for bar in outcome.figure.bars:
        if bar.rival is None:
            cells[None] = f"(at most {bar.limit:g})"
        else:
            cells[bar.rival] = f"{spread(outcome.ratios(bar.rival))} ({bar.limit:g})"
    return [cells.get(name, cells[None]) for name in rivals]


def detail(outcome: Outcome, plan: Plan) -> str:
    """One figure: a row per target."""
    figure = outcome.figure
    heads = ["target", figure.unit]
    timed = any(sample.rate is not None for runs in outcome.samples.values() for sample in runs.values())
    if timed:
        heads += ["in the kernel", f"{figure.per}/s", "latency ms", "p99 ms"]
    heads.append("longest stall ms")
    rows = [_detail_row(outcome, name, timed) for name in outcome.samples]
    how = f"`{figure.name}`: `{figure.workload.command(plan)}`{', over TLS' if figure.tls else ''}"
    parts = [f"### {figure.title}", how, table(heads, rows)]
    if figure.stall is not None:
        parts.append(f"Bar of the longest stall: {figure.stall:g} ms.")
    if outcome.void:
        parts.append(f"{len(outcome.void)} runs were void, and tried again: {'; '.join(outcome.void)}.")
    parts += [f"{name} failed: {reason}" for name, reason in outcome.failures.items()]
    return "\n\n".join(parts)


def _detail_row(outcome: Outcome, name: str, timed: bool) -> list[str]:
    samples = list(outcome.samples[name].values())
    row = [name, spread([sample.value for sample in samples])]
    if timed:
        shares = [sample.system for sample in samples if sample.system is not None]
        row.append(f"{median(shares):.0%}" if shares else "-")
        for values in (
            [sample.rate for sample in samples if sample.rate is not None],
            [sample.latency for sample in samples if sample.latency is not None],
            [sample.p99 for sample in samples if sample.p99 is not None],
        ):
            row.append(spread(values))
    row.append(spread([stall * 1e3 for stall in outcome.stalls]) if name == US else "-")
    return row


def document(
    outcomes: Sequence[Outcome],
    plan: Plan,
    rounds: int,
    command: str,
    machine: Sequence[str],
    versions: Mapping[str, str],
    configurations: Mapping[str, str],
) -> str:
    """The whole report."""
    targets = list(versions)
    parts = [
        "# Results",
        _PREFACE.format(command=command, rounds=rounds, seconds=plan.seconds),
        "\n".join(
            f"- {line}" for line in [*machine, *(f"{name}: {text}" for name, text in versions.items())]
        ),
        "## Summary",
        summary(outcomes, targets),
        "## Figures",
        *(detail(outcome, plan) for outcome in outcomes),
        "## Configurations",
        *(f"### {name}\n\n```\n{text}\n```" for name, text in configurations.items()),
    ]
    return "\n\n".join(parts) + "\n"


_PREFACE = """\
Printed by `{command}`.

In each of the {rounds} rounds every figure is run once against every target, one after the other; the
order turns by one from round to round. Runs that last as long as one likes are measured for {seconds} s.
Numbers are `median (min..max)` over the rounds. A ratio is ours over the rival's, both of the same round;
a bar holds when the median ratio is not above it.

- **CPU** is user + system time of the proxy's process, from the kernel's accounting. Clients, proxy and
  PostgreSQL share the machine's cores, so transactions per second tell less than CPU does. `direct` has
  no proxy: its CPU and memory are those of PostgreSQL's processes.
- **pgbench** figures leave out the logins and the first second. p99 is over 5 % of the transactions.
- **PgBouncer** is Debian's, once with its defaults and once with `pkt_buf=65536`. Version 1.18 has no
  prepared statements in transaction mode, so there is no `pgbench -M prepared` here.
- **Logins**: every target knows the client by the same stored SCRAM-SHA-256 secret; the client does
  PBKDF2 once, not for every login. PostgreSQL trusts the proxies, for a stored secret alone logs in
  nowhere. No target logs connections.
- **TLS**: clients come over TLS 1.3 (AES-256-GCM, X25519, what OpenSSL prefers) with a P-256 certificate that
  all targets show; no session is resumed, and no target gives tickets. The proxies' servers are those of the
  other figures, without TLS; `direct` is a PostgreSQL of the same version that is built with OpenSSL. While
  many log in, queries and logins count from the moment they were meant for; the queries without the time
  that the generator itself was late with them, and a run in which that was more than a few milliseconds
  is void, and tried again, twice at most. Where root runs it, the steady clients have a higher priority than
  all others: who looks at the clock must not wait for who makes the load.
- **Memory** is the growth of anonymous memory (`Anonymous` in /proc/PID/smaps_rollup); each of these runs
  starts with a fresh proxy that has served a few clients. `direct` gets as many clients as PostgreSQL
  allows.
- **The longest stall** is how long one turn of poolproxy's event loop kept everybody else waiting: the
  upper edge of the highest bucket of its own histogram that counted during the run."""
