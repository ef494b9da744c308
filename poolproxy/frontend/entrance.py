"""Accepts connections, as many as there is room for, and bounds what they take until they are in.

Bytes are bounded where they are read (login.py), seconds by the tick; logins at once, and connections that
hold a descriptor, by not accepting any more; connections and failures of one address by what addresses.py
remembers. Must not know pools. Compiled: `accept` runs for every client.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable

from poolproxy.errors import PoolproxyError, ShuttingDown, TooManyFromAddress
from poolproxy.frontend.addresses import SPARE, UNIX, Failures, Places, network_of
from poolproxy.frontend.directory import Directory
from poolproxy.frontend.encrypting import ClientEncryption
from poolproxy.frontend.login import Door, Login
from poolproxy.log import get_logger, repeated
from poolproxy.settings import LOGIN_ROOM, Settings
from poolproxy.transport.listener import Listener
from poolproxy.transport.poller import Poller
from poolproxy.transport.stream import Stream

_log = get_logger()

#: Seconds that a client which is being told an error has to read it.
FAREWELL = 5.0

#: Seconds a login may take while others wait for its place: enough for any honest one, and strangers who say
#: nothing must not keep everybody out for the whole of client_login_timeout. Who has not said a word gets
#: less: a client speaks first, and its first packet comes with the end of TCP's handshake or right behind it.
CROWDED_LOGIN_TIMEOUT = 3.0
CROWDED_SILENCE = 1.0


class Entrance(Door):
    """See the module. `clients`: those who are in."""

    __slots__ = (
        "_counting", "_exhausted", "_farewells", "_few_logins", "_full", "_most_logins", "_poller", "_room",
        "_settings", "clients", "draining", "failures", "listeners", "logins", "pauses", "places",
        "rejections",
    )  # fmt: skip

    def __init__(
        self,
        poller: Poller,
        settings: Settings,
        clients: Directory,
        random_bytes: Callable[[int], bytes],
        tls: ClientEncryption | None = None,
    ) -> None:
        super().__init__(settings.auth_method, random_bytes, tls, tls.workers if tls is not None else None)
        self.clients = clients
        self.logins: dict[Login, None] = {}
        self.listeners: list[Listener] = []
        self.draining = False
        self.rejections: Counter[str] = Counter()
        self.pauses: Counter[str] = Counter()
        self.places = Places(settings.max_connections_per_address)
        self.failures: Failures[Login] = Failures(settings.failed_login_delay)
        self._poller = poller
        self._settings = settings
        self._room = settings.max_client_connections + LOGIN_ROOM  #: connections, logged in or not
        self._most_logins = settings.max_logins
        # Accepting goes on when there are no more than so many: one by one, the listeners would be disarmed
        # and armed again for each.
        self._few_logins = self._most_logins - 1 - self._most_logins // 8
        self._counting = settings.max_connections_per_address > 0
        self._farewells: list[tuple[float, Stream]] = []
        self._exhausted = False
        self._full = False

    def accept(self, descriptor: int, address: object) -> None:
        """A connection was accepted; str(address) names its peer."""
        if self.draining:
            os.close(descriptor)
            self.rejections["draining"] += 1
            return
        login = Login(self, self._poller, descriptor, address)
        self.logins[login] = None
        if self._taken() >= self._room or len(self.logins) >= self._most_logins:
            self._fill()
        if self._counting and not login.forwarded:
            try:
                self.arrived(login)
            except PoolproxyError as error:
                login.fail(error)
                return
        login.stream.look()  # its first packet is there already, as a rule

    def exhausted(self, listener: Listener) -> None:
        """There are no descriptors left: who is connected goes on, who is not waits in the kernel."""
        self._exhausted = True
        self.pauses["descriptors"] += 1
        repeated(_log, "descriptors", "accepting paused: out of file descriptors", clients=len(self.clients))

    def _taken(self) -> int:
        """Connections of clients that hold a descriptor now."""
        return len(self.logins) + len(self.clients) + len(self._farewells) + len(self.failures)

    def _fill(self) -> None:
        """Every place is taken, by whomever: the descriptors left are for servers and HTTP. Or max_logins are
        under way. Who comes now waits in the kernel, where a storm of honest ones is not refused, until
        somebody has logged in or left, or has not done so within CROWDED_LOGIN_TIMEOUT."""
        self._cut_farewells_short()
        if self._full:
            return
        logins = len(self.logins)
        if self._taken() >= self._room or logins >= self._most_logins:
            self._full = True
            self.pauses["clients" if self._taken() >= self._room else "logins"] += 1
            for listener in self.listeners:
                listener.pause()
            repeated(
                _log, "full", "accepting paused: no room for more connections", clients=len(self.clients),
                logins=logins,
            )  # fmt: skip

    def _accept_again(self) -> None:
        """Go on accepting where there is room."""
        if self._full and len(self.logins) > self._few_logins:
            return
        self._cut_farewells_short()
        self._full = self._taken() >= self._room
        if not self._full:
            self._exhausted = False
            for listener in self.listeners:
                listener.resume()

    def _cut_farewells_short(self) -> None:
        """Forget those that are over. Where places are short, who has been told everything is not waited
        for, and no answer is held back."""
        self._farewells = [each for each in self._farewells if not each[1].closed]
        if self._taken() >= self._room:
            self._answer(self.failures.all())
            for _, stream in self._farewells:
                if not stream.backlog:
                    stream.close()
            self._farewells = [each for each in self._farewells if not each[1].closed]

    # Addresses.

    def arrived(self, login: Login) -> None:
        """It is known from where. Raises where that address has far too many connections."""
        network = network_of(str(login.address))
        if self._counting and network != UNIX:
            self.places.take(login, network)
            beyond = self.places.beyond(login)
            login.excess = beyond > 0
            if beyond > SPARE:
                raise TooManyFromAddress(limit=self.places.limit)

    def holds_back(self, login: Login) -> bool:
        if login.forwarded or not self._settings.failed_login_delay:
            return False
        now = self._poller.now
        until = now + self.failures.note(network_of(str(login.address)), now)
        if self._counting:
            self.places.give_back_at(login, until)
        return not self.draining and self._taken() < self._room and self.failures.hold(login, until)

    def let_go(self, login: Login) -> None:
        self.failures.let_go(login)

    def _answer(self, logins: list[Login]) -> None:
        """Tell those whose answer was held back."""
        for login in logins:
            login.answer_now()
            self._say_farewell(login.stream)

    # Ends.

    def _say_farewell(self, stream: Stream) -> None:
        """Its last words are on their way, if they are not there yet: bound the time for them."""
        if not stream.closed:
            self._farewells.append((self._poller.now + FAREWELL, stream))

    def end_overdue(self, now: float) -> None:
        """The tick: end logins and last words that have taken too long, say what was held back."""
        self._end_logins(now)
        if self._counting:
            self.places.tick(now)
        if self.failures:
            self._answer(self.failures.due(now))
        while self._farewells and self._farewells[0][0] <= now:
            self._farewells.pop(0)[1].close()
        if self._exhausted or self._full:
            self._accept_again()

    def _end_logins(self, now: float) -> None:
        limit = silence = self._settings.client_login_timeout
        if self._full:
            limit, silence = min(limit, CROWDED_LOGIN_TIMEOUT), min(limit, CROWDED_SILENCE)
        for login in list(self.logins):
            waited = now - login.began
            if waited < silence:
                break
            if waited >= limit or not login.spoke:
                login.time_out(limit if waited >= limit else silence)

    def drain(self) -> None:
        """Accept nobody any more, and end logins."""
        self.draining = True
        for listener in self.listeners:
            listener.close()
        self.listeners.clear()
        for login in list(self.logins):
            login.fail(ShuttingDown())
        self._answer(self.failures.all())
