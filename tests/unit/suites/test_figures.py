"""What a suite's run is told to have cost: sums of counters that may go away, and peaks."""

from __future__ import annotations

from prometheus_client.samples import Sample

from tests.suites.figures import Figures


def counted(name: str, value: float, **labels: str) -> Sample:
    return Sample(f"poolproxy_{name}_total", labels, value)


def servers(value: float, **labels: str) -> Sample:
    return Sample("poolproxy_servers", {"state": "active", **labels}, value)


def test_counters_are_summed_over_pools_and_their_lives() -> None:
    figures = Figures()
    figures.take([counted("queries", 5, user="a"), counted("queries", 2, user="b")])
    figures.take([counted("queries", 7, user="a")])  # the pool of b is gone
    figures.take([counted("queries", 8, user="a"), counted("queries", 1, user="b")])  # and back
    assert figures.total("poolproxy_queries_total") == 11


def test_by_a_label_without_what_is_nothing() -> None:
    figures = Figures()
    figures.take(
        [
            counted("pins", 2, user="a", reason="listen"),
            counted("pins", 1, user="b", reason="listen"),
            counted("pins", 0, user="b", reason="load"),
        ]
    )
    assert figures.by("poolproxy_pins_total", "reason") == {"listen": 3}


def test_peaks() -> None:
    figures = Figures()
    figures.take(
        [servers(2, user="a"), servers(3, user="b"), Sample("poolproxy_servers", {"state": "idle"}, 9)]
    )
    figures.take([servers(4, user="a"), servers(0, user="b")])
    assert figures.most_servers == 5
    assert figures.most_in_a_pool == 4


def test_the_verdict() -> None:
    figures = Figures()
    assert figures.verdict(0.5) == ["nothing went through the proxy", "no server was ever seen in use"]
    figures.take([counted("queries", 100), counted("pinned_queries", 10), servers(1)])
    assert figures.pinned_share() == 0.1
    assert figures.verdict(0.1) == []
    assert figures.verdict(0.09) == ["10.00% of the exchanges ran pinned; the ceiling is 9.00%"]
    figures.take([counted("out_of_sync", 1)])
    figures.broken.append({"event": "Traceback"})
    assert len(figures.verdict(0.1)) == 2
