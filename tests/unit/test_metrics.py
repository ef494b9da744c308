"""Metrics: every family shown, counts kept, foreign names harmless, and the data plane never kept waiting."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric, parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from poolproxy.counters import Histogram
from poolproxy.metrics import families, render, scrape
from poolproxy.metrics.families import PROCESS
from poolproxy.pool.snapshot import DatabaseSnapshot, PoolSnapshot, ProcessSnapshot
from tests.fakes.snapshots import BusySource, busy_pool, busy_process
from tools import docs_errors
from tools.docs_metrics import RDS_PROXY

parse_text: Any = parser.text_string_to_metric_families
parse_openmetrics: Any = openmetrics_parser.text_string_to_metric_families

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CLOSED_LABELS = {"state", "result", "reason", "method", "sqlstate_class", "version", "python", "compiled"}


class Source:
    """Exactly these snapshots."""

    def __init__(self, *pools: PoolSnapshot, databases: tuple[DatabaseSnapshot, ...] = ()) -> None:
        self.pools = pools
        self.process = busy_process(databases)

    def process_snapshot(self) -> ProcessSnapshot:
        return self.process

    def pool_snapshots(self) -> Iterator[PoolSnapshot]:
        return iter(self.pools)


def text_of(source: scrape.Source, openmetrics: bool = False) -> str:
    return b"".join(asyncio.run(render(source, openmetrics))).decode("utf-8")


def samples(source: scrape.Source) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(text_of(source))
        for sample in family.samples
    }


def value(source: scrape.Source, name: str, **labels: str) -> float:
    return samples(source)[name, frozenset(labels.items())]


POOL = {"database": "shop", "user": "app"}


@pytest.mark.parametrize("openmetrics", [False, True])
def test_every_family_is_declared_and_shown(openmetrics: bool) -> None:
    text = text_of(BusySource(), openmetrics)
    parsed: list[Metric] = list(parse_openmetrics(text) if openmetrics else parse_text(text))
    shown = {sample.name for family in parsed for sample in family.samples}
    declared = {name for _, family in families() for name in family.sample_names}
    assert shown == declared
    assert text.endswith("# EOF\n") == openmetrics
    helps = re.findall(r"^# HELP (\S+)", text, re.MULTILINE)
    assert len(helps) == len(set(helps)) == len(list(families()))


def test_names_units_and_labels_follow_the_rules() -> None:
    names = [family.name for _, family in families()]
    assert len(names) == len(set(names))
    for identity, family in families():
        assert re.fullmatch(r"poolproxy(_[a-z]+)+", family.name)
        assert identity in ((), ("database",), ("database", "user", "startup"))
        assert set(family.labels) <= CLOSED_LABELS
        assert family.meaning.endswith(".")
        assert not family.values or family.labels
        if family.kind == "histogram":
            assert family.name.endswith("_duration_seconds")


def test_values_come_from_the_snapshots() -> None:
    source = Source(busy_pool(), databases=(DatabaseSnapshot("shop", 20, 1, 97),))
    assert value(source, "poolproxy_clients", state="waiting", **POOL) == 10
    assert value(source, "poolproxy_servers", state="active", **POOL) == 20
    assert value(source, "poolproxy_servers_pinned", reason="prepared", **POOL) == 2
    assert value(source, "poolproxy_longest_wait_seconds", **POOL) == 0.25
    assert value(source, "poolproxy_server_up", **POOL) == 1
    assert value(source, "poolproxy_queries_total", **POOL) == 120
    assert value(source, "poolproxy_sent_bytes_total", **POOL) == 2_000_000
    assert value(source, "poolproxy_pinned_seconds_total", reason="prepared", **POOL) == 1.5
    assert value(source, "poolproxy_errors_total", sqlstate_class="22", **POOL) == 4
    assert value(source, "poolproxy_database_servers_limit", database="shop") == 97
    assert value(source, "poolproxy_logins_total", method="scram-sha-256", result="failed") == 1
    assert value(source, "poolproxy_clients_in_login") == 3
    assert value(source, "poolproxy_resident_memory_bytes") > 1_000_000
    assert value(source, "poolproxy_cpu_seconds_total") > 0


def test_closed_sets_start_at_zero() -> None:
    """A rate misses the first event of a series that appears with it."""
    source = Source(busy_pool())
    assert value(source, "poolproxy_server_connects_total", result="auth", **POOL) == 0
    assert value(source, "poolproxy_accept_pauses_total", reason="descriptors") == 0
    assert value(source, "poolproxy_cancels_total", result="unknown") == 0


def test_values_outside_the_closed_set_are_shown_too() -> None:
    pool = busy_pool()
    pool.counters.server_connects = {"novel": 3}
    assert value(Source(pool), "poolproxy_server_connects_total", result="novel", **POOL) == 3


def test_a_limit_that_is_not_known_is_absent() -> None:
    source = Source(databases=(DatabaseSnapshot("shop", 1, 0, 0),))
    assert value(source, "poolproxy_database_servers", database="shop") == 1
    assert "poolproxy_database_servers_limit{" not in text_of(source)


def test_no_series_without_a_pool() -> None:
    assert 'user="' not in text_of(Source())
    assert 'user="app"' in text_of(Source(busy_pool()))


@pytest.mark.parametrize(
    "seconds", [0.0, 1e-6, 63e-6, 64e-6, 65e-6, 0.001, 1.048575, 1.048577, 2.0, 60.0, 67.2, 1e4]
)
def test_histograms_keep_every_count_and_put_it_below_its_edge(seconds: float) -> None:
    pool = dataclasses.replace(busy_pool(), counters=type(busy_pool().counters)())
    pool.counters.query.observe(seconds)
    source = Source(pool)
    shown = {
        float(dict(labels)["le"]): number
        for (name, labels), number in samples(source).items()
        if name == "poolproxy_query_duration_seconds_bucket"
    }
    for edge, number in shown.items():
        assert number == (1 if seconds < edge else 0), edge
    assert list(shown.values()) == sorted(shown.values())
    assert value(source, "poolproxy_query_duration_seconds_count", **POOL) == 1
    assert value(source, "poolproxy_query_duration_seconds_sum", **POOL) == pytest.approx(seconds)


def test_the_edges_fit_the_counters() -> None:
    assert max(scrape.EDGES) < len(Histogram().counts) - 1  # the last bucket has no upper edge


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a\x00\x1bb", "größe", "a\udcffb", "{}#,= "])
def test_foreign_names_cannot_break_a_scrape(name: str, openmetrics: bool) -> None:
    parse = parse_openmetrics if openmetrics else parse_text
    found = {
        sample.labels["user"]
        for family in parse(text_of(Source(busy_pool(user=name)), openmetrics))
        for sample in family.samples
        if "user" in sample.labels
    }
    assert found == {name.encode("utf-8", "backslashreplace").decode()}


@pytest.mark.parametrize("openmetrics", [False, True])
@pytest.mark.parametrize("name", [name for _, family in families() for name in family.sample_names])
def test_each_metric_can_be_asked_for_alone(name: str, openmetrics: bool) -> None:
    """By the names that queries use; what is shown is the same as in the whole page."""
    source = Source(busy_pool(), databases=(DatabaseSnapshot("shop", servers=20, control=1, limit=97),))
    (family,) = (family for _, family in families() if name in family.sample_names)
    pages = [
        b"".join(asyncio.run(render(source, openmetrics, names))).decode("utf-8")
        for names in ({name}, {family.name}, frozenset[str]())
    ]
    assert [page.count("\n") for page in pages[:2]] == [pages[0].count("\n")] * 2
    shown = [line for line in pages[0].splitlines() if line != "# EOF"]
    assert shown
    # Some are read from the system, and are others a moment later: their series are the same.
    series = ["\n".join(line.rpartition(" ")[0] for line in page) for page in (shown, pages[2].splitlines())]
    assert series[0] in series[1]
    declared = [line.split()[2] for line in shown if line.startswith("# TYPE")]
    assert [each.removesuffix("_total").removesuffix("_info") for each in declared] == [family.name]


@pytest.mark.parametrize("openmetrics", [False, True])
def test_a_large_scrape_is_sliced(monkeypatch: pytest.MonkeyPatch, openmetrics: bool) -> None:
    """500 pools: between two yields never more than SLICE samples are rendered. Counted, not timed."""
    per_turn = [0]
    real = scrape._samples

    def counting(*arguments: Any) -> bytes:
        text = real(*arguments)
        per_turn[-1] += text.count(b"\n")
        return text

    monkeypatch.setattr(scrape, "_samples", counting)
    scraping = render(BusySource(pools=500), openmetrics)
    while True:
        try:
            assert scraping.send(None) is None  # the bare yield of asyncio.sleep(0)
        except StopIteration as done:
            pieces = done.value
            break
        per_turn.append(0)
    assert max(per_turn) <= scrape.SLICE
    assert sum(per_turn) == sum(not line.startswith(b"#") for line in b"".join(pieces).splitlines()) > 40_000
    # Slices are not made for nothing either: most are nearly full.
    assert len(per_turn) < 2 * sum(per_turn) / scrape.SLICE


@pytest.mark.parametrize(
    ("name", "most"),
    [("poolproxy_tasks", 0), ("poolproxy_errors", scrape.SLICE), ("poolproxy_pool_size", scrape.SLICE // 2)],
)
def test_a_narrow_scrape_is_sliced_too(name: str, most: int) -> None:
    """To take 500 snapshots is work, too: none that nobody asked for, and not all in one turn. A family may
    have no sample in a pool."""
    taken = [0]

    class Quiet(BusySource):
        def pool_snapshots(self) -> Iterator[PoolSnapshot]:
            for number in range(self.pools):
                taken[-1] += 1
                pool = busy_pool(user=f"app{number}")
                pool.counters.errors = {}
                yield pool

    scraping = render(Quiet(pools=500), False, {name})
    while True:
        try:
            scraping.send(None)
        except StopIteration:
            break
        taken.append(0)
    assert max(taken) <= most + 1
    assert sum(taken) == (500 if most else 0)


def test_one_family_of_one_pool_is_sliced_too() -> None:
    """A database can raise many SQLSTATE classes."""
    pool = busy_pool()
    pool.counters.errors = {f"{number:02d}": 1 for number in range(5 * scrape.SLICE)}
    assert text_of(Source(pool)).count("poolproxy_errors_total{") == 5 * scrape.SLICE


def test_a_pool_that_goes_during_a_scrape_does_no_harm() -> None:
    """Its numbers are read when its turn comes; the next turn finds whichever pools there are then."""
    alive = [busy_pool(user="one"), busy_pool(user="two")]

    class Shrinking(Source):
        def pool_snapshots(self) -> Iterator[PoolSnapshot]:
            while alive:
                yield alive.pop(0)
                alive.clear()

    text = text_of(Shrinking())
    assert 'user="one"' in text
    assert 'user="two"' not in text


def test_build_information() -> None:
    shown = r'poolproxy_build_info\{compiled="(yes|no)",python="3\.[^"]+",version="[^"]+"\} 1\.0'
    assert re.search(shown, text_of(Source()))
    assert PROCESS[0].sample_names == ("poolproxy_build_info",)


def expressions(node: Any) -> Iterator[str]:
    """Every query of a dashboard."""
    if isinstance(node, dict):
        for key, child in node.items():
            if key in ("expr", "query", "definition") and isinstance(child, str):
                yield child
            else:
                yield from expressions(child)
    elif isinstance(node, list):
        for child in node:
            yield from expressions(child)


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\bpoolproxy_\w+", text))


def test_dashboard_uses_declared_metrics_only() -> None:
    declared = {name for _, family in families() for name in family.sample_names}
    dashboards = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
    assert dashboards
    for path in dashboards:
        used = names_in(" ".join(expressions(json.loads(path.read_text("utf-8")))))
        assert used
        assert used <= declared, path.name


def test_alerts_use_declared_metrics_only() -> None:
    named = {name for _, family in families() for name in (family.name, *family.sample_names)}
    used = names_in((DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8"))
    assert used
    assert used <= named  # the texts call a histogram by its plain name


def test_errors_name_declared_metrics_only() -> None:
    named = {name for _, family in families() for name in (family.name, *family.sample_names)}
    assert names_in(docs_errors.page()) <= named


def test_the_map_from_rds_proxy_is_whole_and_true() -> None:
    declared = {name for _, family in families() for name in family.sample_names}
    assert len({name for name, _, _ in RDS_PROXY}) == len(RDS_PROXY) == 24
    for name, query, remark in RDS_PROXY:
        assert names_in(query) <= declared, name
        assert query or remark, name


def test_meanings_name_every_value_of_their_closed_set() -> None:
    """docs/metrics.md and the scrape explain a label's values by the meaning alone."""
    for _, family in families():
        for word in family.values:
            assert word in family.meaning, (family.name, word)
