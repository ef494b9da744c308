"""The text of docs/metrics.md, made from the declarations of the metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from poolproxy.metrics import Family, families
from poolproxy.metrics.scrape import EDGES
from poolproxy.session.pins import REASONS

INTRODUCTION: Final = """\
# Metrics

`GET /metrics` on the HTTP port (9127) answers in Prometheus' text format, or in OpenMetrics to those who ask
for it, compressed for those who accept gzip. Numbers are read when a scrape asks for them. A ready scrape
configuration, alerts and a Grafana dashboard are in `deploy/`.

- `/metrics?name[]=poolproxy_servers&name[]=...` answers with these only, as exporters made with Prometheus'
  client libraries do; a series' name (`..._total`, `..._bucket`) will do as well.
- Durations are in seconds, sizes in bytes. Counters only grow, from the start of the process or of the pool.
- A pool is one (database, user) as clients name them. Its series begin with the first login that succeeds and
  end with the pool.
- `startup` is there only where clients asked for settings that only a starting session takes
  (`ignore_system_indexes=on`): they get a pool of their own.
- The other labels have few values, all of them listed here or in the PostgreSQL manual (SQLSTATE classes).
- Histograms have the edges {edges} seconds.
"""

SECTIONS: Final = {
    (): ("The process", "No identity labels: what belongs to no database."),
    ("database",): ("Each database", "Labels `database` and those named."),
    ("database", "user", "startup"): (
        "Each pool",
        "Labels `database`, `user`, seldom `startup`, and those named.",
    ),
}

PINS_INTRODUCTION: Final = """\
## Reasons of pins

The values of the label `reason` of the metrics of pins.
"""

RDS_INTRODUCTION: Final = """\
## Coming from RDS Proxy

What answers the question of each of RDS Proxy's 24 CloudWatch metrics. CloudWatch gives sums or averages per
minute, latencies in microseconds; these queries give rates per second over five minutes, and seconds. "None"
means that it is not counted.
"""

QUERY_SECONDS: Final = "sum(rate(poolproxy_query_duration_seconds_sum[5m]))"
QUERY_COUNT: Final = "sum(rate(poolproxy_query_duration_seconds_count[5m]))"
BORROW_SECONDS: Final = "sum(rate(poolproxy_borrow_duration_seconds_sum[5m]))"
BORROW_COUNT: Final = "sum(rate(poolproxy_borrow_duration_seconds_count[5m]))"

#: (CloudWatch metric, query, remark)
RDS_PROXY: Final = (
    (
        "AvailabilityPercentage",
        "100 * avg_over_time(poolproxy_server_up[5m])",
        "By pool. The last attempt to connect a server decides; there are no separate health checks.",
    ),
    ("ClientConnections", "poolproxy_clients_connected", "Clients in login included."),
    (
        "ClientConnectionsReceived",
        "sum(rate(poolproxy_logins_total[5m])) + sum(rate(poolproxy_rejections_total[5m]))",
        "Each is counted once: when its login ends, or when it is turned away.",
    ),
    ("ClientConnectionsSetupSucceeded", 'sum(rate(poolproxy_logins_total{result="ok"}[5m]))', ""),
    (
        "ClientConnectionsSetupFailedAuth",
        'sum(rate(poolproxy_logins_total{result="failed"}[5m]))',
        'Authentication only; of TLS it is poolproxy_rejections_total{reason="tls"}.',
    ),
    (
        "ClientConnectionsClosed",
        'sum(increase(poolproxy_logins_total{result="ok"}[5m])) - delta(poolproxy_clients_connected[5m])',
        "No counter of its own: logins less the growth of the clients. Per five minutes.",
    ),
    ("ClientConnectionsTLS", "poolproxy_clients_encrypted", ""),
    (
        "ClientConnectionsNoTLS",
        "poolproxy_clients_connected - poolproxy_clients_encrypted",
        "Clients in login included.",
    ),
    (
        "DatabaseConnectionRequests",
        "sum(rate(poolproxy_server_connects_total[5m]))",
        "Attempts that have ended.",
    ),
    ("DatabaseConnectionRequestsWithTLS", "", "`pg_stat_ssl` tells on the server."),
    (
        "DatabaseConnectionsSetupSucceeded",
        'sum(rate(poolproxy_server_connects_total{result="ok"}[5m]))',
        "",
    ),
    (
        "DatabaseConnectionsSetupFailed",
        'sum(rate(poolproxy_server_connects_total{result!="ok"}[5m]))',
        "The label `result` says why.",
    ),
    (
        "DatabaseConnections",
        "sum(poolproxy_database_servers) + sum(poolproxy_database_control_connections)",
        "Those being opened included.",
    ),
    ("DatabaseConnectionsWithTLS", "", "`pg_stat_ssl` tells on the server."),
    ("MaxDatabaseConnectionsAllowed", "poolproxy_database_servers_limit", "By database."),
    ("DatabaseConnectionsCurrentlyBorrowed", 'sum(poolproxy_servers{state="active"})', ""),
    (
        "DatabaseConnectionsCurrentlyInTransaction",
        'sum(poolproxy_servers{state="active"}) - sum(poolproxy_servers_pinned)',
        (
            "Close, not the same: an unpinned server is attached for one transaction or exchange; "
            "a pinned one that is inside a transaction is missing here."
        ),
    ),
    (
        "DatabaseConnectionsCurrentlySessionPinned",
        "sum(poolproxy_servers_pinned)",
        "The label `reason` says why; `poolproxy_pinned_seconds_total` for how long.",
    ),
    (
        "DatabaseConnectionsBorrowLatency",
        f"{BORROW_SECONDS} / {BORROW_COUNT}",
        "An average, as there. `histogram_quantile` gives percentiles.",
    ),
    (
        "QueryRequests",
        "sum(rate(poolproxy_queries_total[5m]))",
        "Counted when answered. A batch up to its Sync is one, and so is a string of several statements.",
    ),
    ("QueryRequestsTLS", "", "Not told apart."),
    ("QueryRequestsNoTLS", "", "Not told apart."),
    (
        "QueryDatabaseResponseLatency",
        f"{QUERY_SECONDS} / {QUERY_COUNT}",
        "From forwarding to ReadyForQuery: the time the client takes to read a large result counts.",
    ),
    (
        "QueryResponseLatency",
        f"({QUERY_SECONDS} + {BORROW_SECONDS}) / {QUERY_COUNT}",
        (
            "No histogram of its own: waiting for a server and the exchange together. What the "
            "proxy itself adds, some tens of microseconds, is in neither."
        ),
    ),
)


def page() -> str:
    """docs/metrics.md."""
    reasons = ((code(reason), meaning) for reason, meaning in REASONS.items())
    edges = ", ".join(str(2**edge / 1e6) for edge in EDGES)
    parts = [INTRODUCTION.format(edges=edges)]
    for identity, (title, explained) in SECTIONS.items():
        rows = (row(family) for labels, family in families() if labels == identity)
        parts.append(f"## {title}\n\n{explained}\n\n{table(('metric', 'type', 'labels', 'meaning'), rows)}")
    parts.append(PINS_INTRODUCTION + "\n" + table(("reason", "meaning"), reasons))
    mapped = ((name, code(query) if query else "none", remark) for name, query, remark in RDS_PROXY)
    parts.append(RDS_INTRODUCTION + "\n" + table(("RDS Proxy", "poolproxy", "remark"), mapped))
    return "\n".join(parts)


def row(family: Family[Any]) -> Iterator[str]:
    """One metric's cells; a histogram goes by its plain name."""
    yield code(family.name if family.kind == "histogram" else family.sample_names[0])
    yield family.kind
    yield ", ".join(code(label) for label in family.labels)
    yield family.meaning


def code(text: str) -> str:
    return f"`{text}`"


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    titles = list(titles)
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
