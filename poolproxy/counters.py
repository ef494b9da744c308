"""What the hot path counts: plain integers and log2 buckets, read at scrape time and never by the hot path.

No prometheus-client object lives here: one costs 0.5-6 us per use.
"""

from __future__ import annotations

#: Bucket `i` of a histogram counts durations below `2**i` microseconds; the last one counts everything above.
BUCKETS = 28

_NOTHING = (0,) * BUCKETS


class Histogram:
    """Durations in log2 buckets of microseconds: 1 us to about 67 s, then everything longer."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts: list[int] = list(_NOTHING)
        self.total: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration. A clock that did not move counts as the shortest."""
        micros = int(seconds * 1e6)
        bucket = 0
        while micros > 0 and bucket < BUCKETS - 1:
            micros >>= 1
            bucket += 1
        self.counts[bucket] += 1
        self.total += seconds

    def snapshot(self) -> tuple[tuple[int, ...], float]:
        """(counts per bucket, sum in seconds)."""
        return tuple(self.counts), self.total


class PoolCounters:
    """What one pool has done since it was made."""

    __slots__ = (
        "audits",
        "borrow",
        "bytes_received",
        "bytes_sent",
        "errors",
        "handover_resets",
        "hub_losses",
        "notifications",
        "out_of_sync",
        "parses",
        "pin_seconds",
        "pinned_queries",
        "pins",
        "queries",
        "query",
        "server_connects",
        "transaction",
        "transactions",
    )

    def __init__(self) -> None:
        self.queries: int = 0  #: exchanges answered (a Query, or a batch up to its Sync)
        self.pinned_queries: int = 0  #: those of them that ran on a pinned server
        self.transactions: int = 0  #: times a server came back to status I
        self.bytes_received: int = 0  #: from clients
        self.bytes_sent: int = 0  #: to clients
        self.parses: int = 0  #: named statements that a server was made to parse
        self.out_of_sync: int = 0  #: servers closed because an answer was not the expected one
        self.handover_resets: int = 0  #: servers reset on their way from one client to another
        self.notifications: int = 0  #: passed on to clients
        self.hub_losses: int = 0  #: times that clients listened and the server that did it for them was lost
        self.borrow = Histogram()  #: waiting for a server
        self.query = Histogram()  #: an exchange, from its forwarding to its ReadyForQuery
        self.transaction = Histogram()  #: from a server's attaching to its status I
        self.server_connects: dict[str, int] = {}  #: by result: ok, refused, unreachable, auth, timeout
        self.audits: dict[str, int] = {}  #: by result: clean, pinned, failed
        self.pins: dict[str, int] = {}  #: by reason, all that ever began
        self.pin_seconds: dict[str, float] = {}  #: by reason, of pins that have ended
        self.errors: dict[str, int] = {}  #: ErrorResponses to clients by SQLSTATE class (two characters)
