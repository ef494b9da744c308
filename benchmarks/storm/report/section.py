"""What RESULTS.md has of a run: the table, the bars, what missed, where and when, the configurations."""

from __future__ import annotations

from benchmarks.storm.report.tables import markdown_table, summary_markdown
from benchmarks.storm.results import REPORTED, Check, Run, Trial


def section(run: Run) -> str:
    """The body of a section, in markdown."""
    parts = [summary_markdown(run).strip(), "\n".join(f"- {line}" for line in run.machine)]
    if run.checks:
        rows = [(check.name, check.found, check.bar, _verdict(check)) for check in run.checks]
        parts.append(markdown_table(("bar", "found", "limit", ""), rows).strip())
    for head, lines in (
        ("Reported, without a bar:", _reported(run)),
        ("What missed its check:", _missed(run)),
        ("Where the generator was the limit:", _limited(run)),
    ):
        if lines:
            parts.append(f"{head}\n\n" + "\n".join(f"- {line}" for line in lines))
    for name, info in run.targets.items():
        parts.append(f"### {name} in the storms\n\n{info.version}")
        if info.configuration:
            parts.append(f"```\n{info.configuration}\n```")
    return "\n\n".join(parts)


def _reported(run: Run) -> list[str]:
    return [
        f"{_trial(trial)}: {check.name}: {check.found}"
        for trial in run.trials
        for check in trial.checks
        if check.bar == REPORTED
    ]


def _missed(run: Run) -> list[str]:
    return [
        f"{_trial(trial)}: {check.name}: {check.found} (bar: {check.bar})"
        for trial in run.trials
        for check in trial.checks
        if not check.passed
    ]


def _limited(run: Run) -> list[str]:
    return [f"{_trial(trial)}: {trial.generator_limited}" for trial in run.trials if trial.generator_limited]


def _trial(trial: Trial) -> str:
    return f"{trial.scenario}, {trial.target}, trial {trial.number}"


def _verdict(check: Check) -> str:
    return "met" if check.passed else "missed"
