"""The figures as tables: which columns there are, once, for the page and for the markdown to paste."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.storm.numbers import NARROW, NOTHING, count, milliseconds, number, share, size, spread
from benchmarks.storm.results import Run, Sample
from benchmarks.storm.standing import FIGURES, Standing, scenario_of, standings


@dataclass(slots=True, frozen=True)
class Column:
    title: str
    cell: Callable[[Standing], str]
    paste: bool = True  #: it is in the markdown, too


def _latency(figure: str, p: int) -> Column:
    title = f"{FIGURES[figure]}, p{p}"
    return Column(title, lambda standing: spread(standing.percentiles(figure, p), milliseconds))


def _most(pick: Callable[[Sample], int], written: Callable[[float], str]) -> Callable[[Standing], str]:
    return lambda standing: spread(standing.most(pick), written)


def ledger(standing: Standing) -> str:
    """`clean`, or every different fault; `-` when no trial had a ledger."""
    if not any(trial.ledger for trial in standing.trials):
        return NOTHING
    return "; ".join(dict.fromkeys(standing.faults)) or "clean"


def checks(standing: Standing) -> str:
    """`6 of 6`: passed, of all trials."""
    total = sum(len(trial.checks) for trial in standing.trials)
    return f"{number(total - len(standing.missed))} of {number(total)}" if total else NOTHING


COLUMNS = (
    Column("succeeded", lambda standing: spread(standing.served, share)),
    _latency("connect", 50),
    _latency("connect", 99),
    _latency("latency", 50),
    _latency("latency", 99),
    Column("servers, most", _most(lambda s: s.servers, count)),
    Column("waiting, most", _most(lambda s: s.waiting, count), paste=False),
    Column("CPU, s", lambda standing: spread(standing.cpu)),
    Column("memory, most", _most(lambda s: s.memory, size)),
    Column("bill per million, $", lambda standing: spread(standing.per_million), paste=False),
    Column(
        "of it waiting to connect",
        lambda standing: spread(standing.billed("waiting_share"), share),
        paste=False,
    ),
    Column("ledger", ledger),
    Column("commits in doubt", lambda standing: spread(standing.booked("in_doubt"), count), paste=False),
    Column("duplicates by retry", lambda standing: spread(standing.booked("retried"), count), paste=False),
    Column("checks passed", checks),
)


def markdown(run: Run) -> str:
    """One row per scenario and target."""
    columns = [column for column in COLUMNS if column.paste]
    heads = ["scenario", "target", *(column.title for column in columns)]
    rows = [
        [scenario, standing.target, *(column.cell(standing) for column in columns)]
        for scenario, ranked in standings(run).items()
        for standing in ranked
    ]
    return markdown_table(heads, rows, texts=2)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A markdown table; the first `texts` columns are text, the others numbers."""
    rule = ["---"] * texts + ["---:"] * (len(heads) - texts)
    lines = [heads, rule, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    # A narrow space survives no terminal font; a plain one does.
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines).replace(NARROW, " ") + "\n"


def summary_markdown(run: Run) -> str:
    """What can be pasted: a sentence on the run, the table, and how to read it."""
    trials = max((len(s.trials) for ranked in standings(run).values() for s in ranked), default=0)
    titles = "; ".join(f"`{name}`: {scenario_of(run, name).title}" for name in standings(run))
    return (
        f"{markdown(run)}\nMedian (lowest..highest) of {number(trials)} trials. {titles}. {run.version}, "
        f"{run.began[:10]}, `{run.command}`.\n"
    )
