"""The whole report as one HTML file that needs nothing else: it has no address that a browser would fetch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.storm.compare import BETTER, WORSE, Comparison
from benchmarks.storm.numbers import counted, milliseconds, number
from benchmarks.storm.report import palette, score, tables
from benchmarks.storm.report.chart import draw, hover_values
from benchmarks.storm.report.markup import Markup, tag
from benchmarks.storm.report.panels import plots
from benchmarks.storm.results import Check, Run
from benchmarks.storm.standing import Standing, Verdict, scenario_of, standings, verdict

HERE = Path(__file__).parent


def page(run: Run, comparison: Comparison | None = None) -> str:
    """The report of a run, and what changed since another when that is given."""
    slots = palette.slots(run.targets)
    found = standings(run)
    verdicts = {name: verdict(ranked) for name, ranked in found.items()}
    title = score.headline(verdicts, list(dict.fromkeys(trial.target for trial in run.trials)))
    body = [
        _header(run, title, verdicts),
        _section("score", "The score", score.overall(run, slots), score.cards(run, slots), _bars(run.checks)),
        *(_scenario(run, name, ranked, verdicts[name], slots) for name, ranked in found.items()),
        _comparison(comparison) if comparison else None,
        _paste(run),
        _what_ran(run, slots),
        _section(
            "reading",
            "How to read this",
            *(tag("p", text) for text in (_TRIALS, _LATENCY, _WINNING, _LEDGER)),
        ),
    ]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · Lambda storm"),
        tag("style", Markup(palette.css() + (HERE / "style.css").read_text("utf-8"))),
    )
    script = tag("script", Markup((HERE / "script.js").read_text("utf-8")))
    hover = tag("div", id="hover", hidden="hidden")
    document = tag("html", head, tag("body", tag("main", *body), hover, script), lang="en")
    return f"<!doctype html>\n{document}\n"


def _section(name: str, title: str, *content: Markup | None) -> Markup:
    return tag("section", tag("h2", title), *content, id=name)


def _header(run: Run, title: str, verdicts: dict[str, Verdict]) -> Markup:
    facts = (_when(run), run.version, *_processor(run.machine))
    return tag(
        "header",
        tag("p", "Lambda storm", cls="eyebrow"),
        tag("h1", title),
        tag("p", score.details(verdicts), cls="lede"),
        tag("p", " · ".join(facts), cls="note"),
    )


def _when(run: Run) -> str:
    return f"{run.began[:16].replace('T', ' ')} UTC"


def _processor(machine: Iterable[str]) -> list[str]:
    return [line.partition(":")[2].strip() for line in machine if line.startswith("processor")]


def _scenario(
    run: Run, name: str, ranked: Sequence[Standing], result: Verdict, slots: dict[str, int]
) -> Markup:
    about = scenario_of(run, name)
    figures = []
    for plot in plots(run, name, ranked, slots):
        caption = tag("figcaption", tag("b", plot.title), " ", tag("span", plot.unit))
        values = tag("script", Markup(hover_values(plot)), type="application/json")
        figures.append(tag("figure", caption, draw(plot), values, data_plot=plot.name))
    return _section(
        name,
        about.title,
        tag("p", about.story) if about.story else None,
        tag("p", result.sentence, cls="verdict"),
        *_warnings(ranked),
        tag("div", *figures, cls="plots"),
        _numbers(about.title, ranked, slots),
        _failures(ranked, slots),
        _bars([check for standing in ranked for check in _worst(standing)]),
    )


def _numbers(title: str, ranked: Sequence[Standing], slots: dict[str, int]) -> Markup:
    """A column per target: there are few of them, and many figures."""
    names = [tag("th", score.named(standing.target, slots), scope="col") for standing in ranked]
    rows = [
        tag(
            "tr",
            tag("th", column.title, scope="row"),
            *(tag("td", column.cell(standing)) for standing in ranked),
        )
        for column in tables.COLUMNS
    ]
    head = tag("tr", tag("th", tag("span", "figure", cls="unseen"), scope="col"), *names)
    table = tag("table", tag("thead", head), tag("tbody", *rows), cls="numbers figures")
    return tag("div", table, cls="scroll", tabindex=0, role="region", aria_label=f"{title}: all figures")


def _warnings(ranked: Sequence[Standing]) -> list[Markup]:
    """When the generator was the limit, the figures say less: that stands before them."""
    said = dict.fromkeys(f"{standing.target}: {text}" for standing in ranked for text in standing.limited)
    return [tag("p", f"The generator was the limit. {text}", cls="warning") for text in said]


def _failures(ranked: Sequence[Standing], slots: dict[str, int]) -> Markup | None:
    """How invocations settled that did not succeed, and what the errors said."""
    items = []
    for standing in ranked:
        outcomes = _added(trial.outcomes for trial in standing.trials)
        outcomes.pop("succeeded", None)
        errors = _added(trial.errors for trial in standing.trials)
        examples = {code: text for trial in standing.trials for code, text in trial.examples.items()}
        said = [f"{number(times)} {outcome}" for outcome, times in outcomes.items() if times]
        said += [f"{number(times)} × {code}: {examples.get(code, '')}" for code, times in errors.items()]  # noqa: RUF001
        if said:
            parts = [tag("li", text) for text in said]
            items.append(tag("div", tag("p", score.named(standing.target, slots)), tag("ul", *parts)))
    if not items:
        return None
    return tag("details", tag("summary", "What did not succeed, and why"), *items)


def _added(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for key, value in each.items():
            total[key] = total.get(key, 0) + value
    return total


def _worst(standing: Standing) -> list[Check]:
    """Each check of a target once: the first trial that missed it, else the last that passed."""
    found: dict[str, Check] = {}
    for trial in standing.trials:
        for check in trial.checks:
            if check.name not in found or found[check.name].passed:
                found[check.name] = Check(
                    f"{standing.target}: {check.name}", check.found, check.bar, check.passed
                )
    return list(found.values())


def _bars(checks: Sequence[Check]) -> Markup | None:
    if not checks:
        return None
    items = []
    for check in checks:
        word = tag("b", "passed" if check.passed else "missed", cls="good" if check.passed else "bad")
        items.append(tag("li", word, f" {check.name}: {check.found} (bar: {check.bar})"))
    return tag("ul", *items, cls="checks")


def _comparison(comparison: Comparison) -> Markup:
    """What changed beyond the spread; all the rest folded away."""
    changed = [*comparison.of(WORSE), *comparison.of(BETTER)]
    return _section(
        "comparison",
        "Since the run before",
        tag("p", comparison.sentence()),
        _changes("Changes beyond the spread", comparison.rows(changed)) if changed else None,
        tag(
            "details",
            tag("summary", "Every figure"),
            _changes("Every figure, before and now", comparison.rows(comparison.changes)),
        ),
    )


def _changes(label: str, cells: Sequence[Sequence[str]]) -> Markup:
    head = tag("tr", *(tag("th", text, scope="col") for text in Comparison.HEADS))
    rows = [tag("tr", *(tag("td", cell) for cell in row)) for row in cells]
    table = tag("table", tag("thead", head), tag("tbody", *rows), cls="numbers words")
    return tag("div", table, cls="scroll", tabindex=0, role="region", aria_label=label)


def _paste(run: Run) -> Markup:
    text = tag("pre", tables.summary_markdown(run), id="markdown", tabindex=0)
    return _section(
        "paste", "The table to paste", tag("button", "Copy as markdown", type="button", id="copy"), text
    )


def _what_ran(run: Run, slots: dict[str, int]) -> Markup:
    lines = [tag("li", line) for line in run.machine]
    targets = [
        tag(
            "details",
            tag("summary", tag("b", score.named(name, slots)), f" {info.version}"),
            tag("pre", info.configuration or "no configuration of its own", tabindex=0),
        )
        for name, info in run.targets.items()
    ]
    late = [trial.lateness.percentile(99) for trial in run.trials if len(trial.lateness)]
    sent = (
        f" The generator sent 99 % of the arrivals of every trial at most {milliseconds(max(late))} late."
        if late
        else ""
    )
    return _section(
        "ran",
        "What was run",
        tag("pre", run.command, tabindex=0),
        tag("p", f"{counted(len(run.trials), 'trial')}, begun {_when(run)}, by {run.version}.{sent}"),
        tag("ul", *lines),
        *targets,
    )


_TRIALS = """\
A trial is one scenario against one target, once. Targets take turns, so that what disturbs the machine
disturbs them all. A line is the median of the trials at that moment; the band around it goes from the lowest
to the highest. What is written as 12.0 (11.0..14.0) is a median with the lowest and the highest."""

_LATENCY = """\
Latency counts from the moment at which the invocation was meant to start, whether or not the generator was in
time: what waits before the door counts, too (no coordinated omission). Connect + first answer is what a new
environment feels: from opening the socket to the first answer of the database. p99 is what 99 % of them do
not exceed."""

_WINNING = """\
Who wins: a target without a fault in the ledger beats one with a fault; of equals, one that passed all its
checks, where both have checks; of equals, the one of whose invocations more succeeded in every trial; of
equals, the one whose p99 is lower in every trial. Where the spreads overlap, it is a tie. A hollow mark means
that more invocations failed than with others: those that did not wait can look fast."""

_LEDGER = """\
The ledger: every invocation writes rows under its own id. Afterwards each commit that was acknowledged must
be there exactly once (else it is lost or duplicated), and no transaction by half. A commit whose answer was
lost is in doubt, and two attempts of one invocation that both committed are duplicates by retry: neither is a
fault."""
