"""The arithmetic of a storm."""

from __future__ import annotations

import math

import pytest

from poolproxy.demo.clients import Order
from poolproxy.demo.figures import Figures, Report, percentile
from poolproxy.demo.storm import split

ORDER = Order("127.0.0.1", 5432, "app", "secret", "demo", first=0, clients=7, seconds=3.0)


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.501, 51.0), (0.99, 99.0), (1.0, 100.0)]
)
def test_percentile_is_the_nearest_rank(share: float, value: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == value


def test_percentile_of_nothing_is_nan() -> None:
    assert math.isnan(percentile([], 0.5))


def test_report_survives_the_line() -> None:
    report = Report(1, 2, 3, 4, 5, 6, {"53300": 7}, {"53300": "sorry"}, [0.25, 0.5])
    line = report.to_line()
    assert line.count(b"\n") == 1
    assert Report.from_line(line) == report


def test_order_survives_the_line() -> None:
    assert Order.from_line(ORDER.to_line()) == ORDER


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 20])
def test_split_gives_each_client_to_one_worker(workers: int) -> None:
    parts = split(ORDER, workers)
    numbers = [n for part in parts for n in range(part.first, part.first + part.clients)]
    assert numbers == list(range(7))
    sizes = [part.clients for part in parts]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


def test_workers_are_added_up() -> None:
    figures = Figures(clients=10)
    figures.begin(100.0)
    figures.add_report(0, Report(1, 2, 3, 0, served=2, transactions=2, latencies=[0.3, 0.1]), 101.0)
    figures.add_report(1, Report(0, 1, 1, 1, served=1, transactions=1, errors={"53300": 2}), 101.0)
    # The same worker again: its totals replace the ones before, its latencies come on top.
    figures.add_report(
        0, Report(1, 1, 1, 1, served=3, transactions=4, errors={"53300": 1}, latencies=[0.2]), 102.0
    )
    assert (figures.connecting, figures.waiting, figures.working, figures.resting) == (1, 2, 2, 2)
    assert figures.active == 7
    assert (figures.served, figures.transactions, figures.failures) == (4, 5, 3)
    assert figures.errors == {"53300": 3}
    assert [figures.latency(share) for share in (0.0, 0.5, 1.0)] == [0.1, 0.2, 0.3]
    assert repr(figures) == "<Figures 4/10 served, 5 transactions, 3 errors, peak 0 servers>"


def test_peaks_outlast_the_samples() -> None:
    figures = Figures(clients=1)
    for servers, control in ((3, 0), (20, 1), (0, 2), (5, 0)):
        figures.add_sample(servers, control)
    assert (figures.servers, figures.control) == (5, 0)
    assert (figures.peak_servers, figures.peak_control) == (20, 2)


def test_rate_is_of_the_last_two_seconds_and_of_the_whole_at_the_end() -> None:
    figures = Figures(clients=1)
    figures.begin(10.0)
    assert figures.rate == figures.mean_rate == 0.0
    for now, total in ((11.0, 100), (12.0, 200), (13.0, 500), (14.0, 1000)):
        figures.add_report(0, Report(transactions=total), now)
    assert figures.rate == (1000 - 200) / 2
    assert figures.mean_rate == 250
    figures.end(recorded=1000)
    assert figures.rate == 250
    assert figures.recorded == 1000


def test_history_counts_each_half_second() -> None:
    figures = Figures(clients=1)
    figures.begin(1.0)
    for now, total in ((1.4, 3), (1.9, 10), (2.0, 11), (2.7, 12)):
        figures.add_report(0, Report(transactions=total), now)
    assert figures.history() == [3, 8, 0]


def test_all_served_is_when_the_last_client_had_its_first_commit() -> None:
    figures = Figures(clients=2)
    figures.begin(5.0)
    figures.add_report(0, Report(served=1), 6.0)
    assert math.isinf(figures.all_served)
    figures.add_report(0, Report(served=2), 7.5)
    figures.add_report(0, Report(served=2), 9.0)
    assert figures.all_served == 2.5
