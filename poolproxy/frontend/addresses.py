"""What the door remembers of the addresses that clients come from. Pure: time is an argument.

An address is an IPv4 address, the /64 of an IPv6 one (which whoever has one of its addresses has, as a rule),
or all Unix sockets together. Whom a load balancer forwards counts where the PROXY header says, and the
balancer itself never does: it is not who knocks, and one address of everybody.

`Places` counts the connections of an address, whether logged in or not (max_connections_per_address). It is
off by default: behind a NAT, or in one of Lambda's subnets, a thousand honest clients share an address.
Connections beyond the limit are still read until they say who they are, up to SPARE of them: a cancel
request is what a client has left that waits for ever, and it is in nobody's way.

`Failures` slows down who guesses passwords. What is held back is the answer to a wrong one alone, and
nothing else: no address and no user is ever banned, and no attempt is made to wait before it is looked at.
Either would hand out lockouts: to whoever knows a name and an address, and to every rotation of a password
during which a hundred old functions try in vain behind the address where the new ones come from. So a right
password is answered at once, whatever others behind its address did, and it clears nothing of theirs.
Guessing one after the other, as guessing programs do, so takes LONGEST_DELAY a guess. Who hangs up and
guesses again without waiting is bounded by the number of connections, where that is limited: a failed login
keeps its place at its address until its answer is due, also where its client has left. Then an address can
try at most max_connections_per_address passwords in that time, however it goes about it.

Memory is bounded: so many addresses are remembered, and the one whose last failure is oldest is forgotten
first; an answer that is held back holds a descriptor, and beyond MOST_HELD of them answers go out at once,
since servers and clients need theirs. Must not know logins, clients or streams: to it they are holders.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from ipaddress import IPv6Address
from typing import Final, Generic, TypeVar

H = TypeVar("H", bound=Hashable)

#: Where all who come over a Unix socket come from.
UNIX: Final = "unix"

#: Connections beyond max_connections_per_address that are read up to their first packet: cancel requests, and
#: those that are told 53300 where their driver reads it, behind its TLS.
SPARE: Final = 8

#: Seconds that an answer is held back at most (or failed_login_delay, if that is more).
LONGEST_DELAY: Final = 5.0
#: Seconds without a failure after which those of an address are forgotten.
FORGOTTEN: Final = 60.0
#: Addresses whose failures are remembered, and answers held back at the same time.
MOST_REMEMBERED: Final = 10_000
MOST_HELD: Final = 100
#: Places that are kept for failed logins beyond their connections.
MOST_KEPT: Final = 10_000


def network_of(peer: str) -> str:
    """What counts as one address. `peer`: `host:port`, `[host]:port` or `unix`."""
    if peer[:1] != "[":
        return peer.rpartition(":")[0] or peer
    address = IPv6Address(peer.rpartition(":")[0].strip("[]"))
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


class Places:
    """The connections of each address. A holder has one place at most, and gives it back once."""

    __slots__ = ("_holders", "_kept", "_taken", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: dict[str, int] = {}
        self._holders: dict[Hashable, str] = {}
        self._kept: list[tuple[float, str]] = []  #: a heap: until when, and whose

    def __repr__(self) -> str:
        return f"<Places {sum(self._taken.values())} of {len(self._taken)} addresses, {len(self._kept)} kept>"

    def __len__(self) -> int:
        """How many are taken."""
        return len(self._holders) + len(self._kept)

    def of(self, network: str) -> int:
        """How many this address has."""
        return self._taken.get(network, 0)

    def take(self, holder: Hashable, network: str) -> None:
        """`holder` has come from there."""
        self.give_back(holder)
        self._holders[holder] = network
        self._taken[network] = self.of(network) + 1

    def beyond(self, holder: Hashable) -> int:
        """How far its address is above the limit, itself included; 0 = not at all."""
        network = self._holders.get(holder)
        return 0 if network is None else max(0, self.of(network) - self.limit)

    def move(self, holder: Hashable, heir: Hashable) -> None:
        """What was a login is a client."""
        network = self._holders.pop(holder, None)
        if network is not None:
            self._holders[heir] = network

    def give_back(self, holder: Hashable) -> None:
        """It has left; nothing, if it had no place."""
        self._free(self._holders.pop(holder, None))

    def give_back_at(self, holder: Hashable, moment: float) -> None:
        """Its place is free then, and not before, whether it leaves or not."""
        network = self._holders.pop(holder, None)
        if network is not None and len(self._kept) < MOST_KEPT:
            heapq.heappush(self._kept, (moment, network))
        else:
            self._free(network)

    def tick(self, now: float) -> None:
        """Free the places whose time has come."""
        while self._kept and self._kept[0][0] <= now:
            self._free(heapq.heappop(self._kept)[1])

    def _free(self, network: str | None) -> None:
        if network is not None:
            left = self._taken[network] - 1
            if left:
                self._taken[network] = left
            else:
                del self._taken[network]


class Failures(Generic[H]):
    """The failed logins of each address, and who waits to hear of his."""

    __slots__ = ("_first", "_held", "_longest", "_seen")

    def __init__(self, first: float) -> None:
        """`first`: seconds that the answer to the first failure is held back."""
        self._first = first
        self._longest = max(first, LONGEST_DELAY)
        #: How many, and when the last one was: the oldest of these comes first.
        self._seen: dict[str, tuple[int, float]] = {}
        self._held: dict[H, float] = {}

    def __repr__(self) -> str:
        return f"<Failures of {len(self._seen)} addresses, {len(self._held)} answers held back>"

    def __len__(self) -> int:
        """How many answers are held back."""
        return len(self._held)

    def note(self, network: str, now: float) -> float:
        """A login from there has failed: seconds to hold its answer back."""
        self._forget(now)
        count, _ = self._seen.pop(network, (0, now))
        if len(self._seen) >= MOST_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._seen[network] = (count + 1, now)
        return float(min(self._longest, self._first * 2 ** min(count, 60)))

    def _forget(self, now: float) -> None:
        while self._seen:
            network, (_, last) = next(iter(self._seen.items()))
            if now - last < FORGOTTEN:
                return
            del self._seen[network]

    def remembered(self) -> int:
        """How many addresses are."""
        return len(self._seen)

    def hold(self, holder: H, until: float) -> bool:
        """Hold its answer back, unless too many are held back already."""
        if len(self._held) >= MOST_HELD:
            return False
        self._held[holder] = until
        return True

    def let_go(self, holder: H) -> None:
        """It need not be told any more."""
        self._held.pop(holder, None)

    def due(self, now: float) -> list[H]:
        """Let go of those whose time has come."""
        self._forget(now)
        due = [holder for holder, until in self._held.items() if until <= now]
        for holder in due:
            del self._held[holder]
        return due

    def all(self) -> list[H]:
        """Let go of everybody."""
        held = list(self._held)
        self._held.clear()
        return held
