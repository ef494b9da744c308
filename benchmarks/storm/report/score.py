"""The top of the page: who wins, by how much, in one sentence, one table and one card per scenario."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from benchmarks.storm.numbers import count, counted, milliseconds, number, share, shortest, spread, times
from benchmarks.storm.report import scales
from benchmarks.storm.report.chart import shortened
from benchmarks.storm.report.markup import Markup, join, tag
from benchmarks.storm.results import Run
from benchmarks.storm.standing import FIGURES, Standing, Verdict, apart, scenario_of, standings, verdict


def headline(verdicts: dict[str, Verdict], targets: Sequence[str]) -> str:
    """The page in one line, such as `a wins 5 of 8 scenarios`. `targets` are those that ran."""
    won = Counter(v.winners[0] for v in verdicts.values() if len(v.winners) == 1)
    total = len(verdicts)
    if not won:
        return (
            "A storm without a winner" if len(targets) > 1 else f"{''.join(targets) or 'Nobody'} in a storm"
        )
    (first, most), *rest = won.most_common()
    if rest and rest[0][1] == most:
        equal = [name for name, wins in won.items() if wins == most]
        return f"{' and '.join(equal)} win {number(most)} of {counted(total, 'scenario')} each"
    if total == 1:
        return f"{first} wins"
    return f"{first} wins {'all' if most == total else f'{number(most)} of'} {counted(total, 'scenario')}"


def details(verdicts: dict[str, Verdict]) -> str:
    """What the headline leaves out: whom the other scenarios went to."""
    places: dict[str, list[str]] = {}
    for name, v in verdicts.items():
        if len(v.winners) == 1:
            what = f"{v.winners[0]} wins"
        elif v.winners:
            what = f"{' and '.join(v.winners)} tie in"
        else:
            continue
        places.setdefault(what, []).append(name)
    said = [f"{what} {', '.join(names)}" for what, names in places.items()]
    return " ".join([f"{'; '.join(said)}.", *_margin(verdicts)]) if said else ""


def _margin(verdicts: dict[str, Verdict]) -> list[str]:
    """By how much, where one target won by its p99."""
    ratios = sorted(v.ratio for v in verdicts.values() if not math.isnan(v.ratio))
    if not ratios:
        return []
    low, high = times(ratios[0]), times(ratios[-1])
    reached = low if low == high else f"{low} to {high}"
    return [f"Where p99 decided, that of the next best was {reached} the winner's."]


def overall(run: Run, slots: dict[str, int]) -> Markup:
    """A row per target over everything it ran."""
    verdicts = {name: verdict(ranked) for name, ranked in standings(run).items()}
    heads = (
        "target",
        "won",
        "invocations",
        "did not succeed",
        "servers, most",
        "ledger faults",
        "checks missed",
    )
    rows = []
    for target in run.targets:
        mine = [s for ranked in standings(run).values() for s in ranked if s.target == target]
        if mine:
            rows.append(_overall_row(target, mine, verdicts, slots))
    head = tag("tr", *(tag("th", text, scope="col") for text in heads))
    return tag(
        "div",
        tag("table", tag("thead", head), tag("tbody", *rows), cls="numbers", id="overall"),
        cls="scroll",
        tabindex=0,
        role="region",
        aria_label="All scenarios together, by target",
    )


def _overall_row(
    target: str, mine: Sequence[Standing], verdicts: dict[str, Verdict], slots: dict[str, int]
) -> Markup:
    won = sum(v.winners == (target,) for v in verdicts.values())
    tied = sum(target in v.winners and len(v.winners) > 1 for v in verdicts.values())
    total = sum(sum(trial.outcomes.values()) for s in mine for trial in s.trials)
    failed = total - sum(trial.outcomes.get("succeeded", 0) for s in mine for trial in s.trials)
    servers = [peak for s in mine for peak in s.most(lambda sample: sample.servers) if not math.isnan(peak)]
    faults = sum(len(s.faults) for s in mine)
    missed = sum(len(s.missed) for s in mine)
    cells = (
        _bad(number(won) + (f", {counted(tied, 'tie')}" if tied else ""), False),
        _bad(number(total), False),
        _bad(f"{number(failed)} ({share(failed / total)})" if failed else "0", failed > 0),
        _bad(count(max(servers)) if servers else "-", False),
        _bad(number(faults), faults > 0),
        _bad(number(missed), missed > 0),
    )
    return tag("tr", tag("th", named(target, slots), scope="row"), *cells)


def _bad(text: str, bad: bool) -> Markup:
    return tag("td", text, cls="bad" if bad else None)


def named(target: str, slots: dict[str, int], short: bool = False) -> Markup:
    """A target's name with its colour before it; `short` where there is no more room than beside a plot."""
    return join(tag("span", cls=f"dot t{slots[target]}"), shortened(target) if short else target)


def cards(run: Run, slots: dict[str, int]) -> Markup:
    """One card per scenario."""
    found = standings(run).items()
    return tag("div", *(_card(run, name, ranked, slots) for name, ranked in found), cls="cards")


def _card(run: Run, name: str, ranked: Sequence[Standing], slots: dict[str, int]) -> Markup:
    result = verdict(ranked)
    known = [value for standing in ranked for value in standing.p99 if not math.isnan(value)]
    axis = scales.logarithmic(known, shortest(milliseconds))
    figure = FIGURES[ranked[0].figure]
    # Two or three numbers are enough for so short an axis.
    shown = axis.ticks[:: max(1, math.ceil(len(axis.ticks) / 3))]
    ticks = [tag("span", text, style=f"left:{axis.place(value):.1%}") for value, text in shown]
    # The roles are said in words, for on a phone the rows are no longer laid out as a table's.
    head = tag(
        "tr",
        tag("th", tag("span", "target", cls="unseen"), role="columnheader"),
        tag("th", tag("div", *ticks, cls="scale"), cls="track", role="columnheader", aria_label="p99, drawn"),
        tag("th", "p99", role="columnheader"),
        tag("th", "succeeded", role="columnheader"),
        role="row",
    )
    rows = [_card_row(standing, ranked, axis, result, slots) for standing in ranked]
    trials = max(len(standing.trials) for standing in ranked)
    note = f"p99 of {figure}: median and spread of {counted(trials, 'trial')}, logarithmic"
    return tag(
        "article",
        tag("h3", tag("a", scenario_of(run, name).title, href=f"#{name}")),
        tag("p", result.sentence, cls="verdict"),
        tag("table", tag("thead", head), tag("tbody", *rows), cls="strip", role="table"),
        tag("p", note, cls="note"),
        cls="card",
    )


def _card_row(
    standing: Standing, ranked: Sequence[Standing], axis: scales.Scale, result: Verdict, slots: dict[str, int]
) -> Markup:
    values = [value for value in standing.p99 if not math.isnan(value)]
    served = [value for value in standing.served if not math.isnan(value)]
    failing = any(apart(other.served, standing.served) > 0 for other in ranked)
    marks = []
    if values:
        low, middle, high = (axis.place(value) for value in (min(values), median(values), max(values)))
        marks = [
            tag("span", cls="whisker", style=f"left:{low:.1%};width:{high - low:.1%}"),
            tag("span", cls="point hollow" if failing else "point", style=f"left:{middle:.1%}"),
        ]
    return tag(
        "tr",
        tag("th", named(standing.target, slots, short=True), role="rowheader", title=standing.target),
        tag("td", tag("div", *marks, cls="rail"), cls=f"track t{slots[standing.target]}", role="cell"),
        tag(
            "td",
            milliseconds(median(values)) if values else "-",
            title=spread(values, milliseconds),
            role="cell",
        ),
        tag("td", share(median(served)) if served else "-", cls="bad" if failing else None, role="cell"),
        role="row",
        cls="wins" if standing.target in result.winners else None,
    )
