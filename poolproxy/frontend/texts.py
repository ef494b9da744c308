"""What a client's texts mean beyond their answers: whether they must wait, what goes ahead of them, and which
servers they make suspect.

Must not know messages, nor how statements are prepared (naming.py, preparing.py). Compiled."""

from __future__ import annotations

from typing import cast

from poolproxy.backend.hub import Hub
from poolproxy.backend.server import Server
from poolproxy.frontend.forwarding import ForwardingClient
from poolproxy.frontend.hearing import NOTHING, Hearing
from poolproxy.frontend.waiting import must_wait
from poolproxy.session.assignments import ALL, EVERYTHING, Assignment
from poolproxy.session.custom import bound_names
from poolproxy.session.parameters import parameter_set
from poolproxy.session.pins import TAINTING
from poolproxy.session.statements import SCANNER, Finding

STATUS_FAILED = 0x45

#: Settings that change how the next text is to be read.
_READING = frozenset({"standard_conforming_strings", "client_encoding", ALL, EVERYTHING})

#: What may hide an UNLISTEN.
_HIDES_UNLISTEN = frozenset({"listen", "code", "routine", "unclear"})

#: What may change what texts mean, for everybody.
_SCHEMA_REASONS = frozenset({"ddl", "temp_object", "code", "function_call", "large_text", "unclear"})


class TextClient(ForwardingClient):
    """See the module."""

    __slots__ = ()

    def _look(self, buffer: bytearray, begin: int, stop: int) -> Finding | None:
        SCANNER.cautious = self.cautious
        SCANNER.words = self.pool.words
        finding = SCANNER.look(buffer, begin, stop)
        self.controls = self.controls or SCANNER.controls
        if SCANNER.writes:
            self.drew = True
        return finding

    def _look_again(self, finding: Finding | None, text: bytes) -> Finding | None:
        """What is remarkable about a text that is run by other words than it was looked at with: a routine in
        it may have become hazardous meanwhile. `text` ends with a zero byte, as in a Parse."""
        SCANNER.cautious = self.cautious or finding is not None
        SCANNER.words = self.pool.words
        found = SCANNER.look(bytearray(text), 0, text.index(0))
        return finding if found is None else found

    def _exchange(self, server: Server, finding: Finding | None) -> None:
        """A Query or FunctionCall: an exchange of its own; in an open batch it makes answers ambiguous."""
        if server.pipeline.batch_assignments:
            server.suspect("setting")  # of the batch that this ends, in a transaction
        assignments = self._follow(server, finding)
        server.pipeline.query(assignments)
        if server.pipeline.unclear:
            server.pin_down("unaudited")

    def _follow(self, server: Server, finding: Finding | None) -> tuple[Assignment, ...]:
        """The assignments of a text that can be followed; for everything else that it may leave, its server
        is suspect."""
        if finding is None:
            return ()
        self.local = self.local or finding.local
        if finding.custom:
            self.pool.custom_names.learn(finding.custom)
        if finding.sequence or finding.reason == "function":
            self._discard_sequences(server)
        self._lend(server, finding)
        if finding.ends and server.pin:
            server.suspect("ends")
        if finding.reason:
            server.suspect(finding.reason)
            self.local = True
            if finding.prepares:
                server.prepared.by_text = True
            if finding.reason in _SCHEMA_REASONS:
                server.changes_schema()
            if finding.resets_role:
                self.resets = (*(self.resets or ()), "role")
            return ()
        for assignment in finding.assignments:
            if assignment.fragment is None:
                self.resets = (*(self.resets or ()), assignment.name)
            if assignment.name in _READING:
                self.cautious = True  # until its answer has told how the next texts are read
        return finding.assignments

    def _others_first(self, server: Server, finding: Finding, again: bool) -> bool:
        """Whether a text must wait for something else than its server; `again` as for the hub."""
        if (finding.databases or finding.buffers) and must_wait(self, server, finding):
            return True
        return self._hub_first(server, finding, again)

    def _hub_first(self, server: Server, finding: Finding, again: bool) -> bool:
        """Whether a text must wait for the hub, because of LISTEN or UNLISTEN in it (rule 15); `again`: it
        may be run more than once."""
        channels = finding.channels
        if finding.unlistens and self.hearing is not None and self.hearing.channels:
            channels += (NOTHING,)
        if not channels or self.pool.hub is None or server.listens or server.pipeline.doomed():
            return False
        if server.pin in TAINTING:
            server.listens = True
            return False
        if self.hearing is None:
            self.hearing = Hearing(self, cast(Hub, self.pool.hub))
        if self.hearing.must_wait(channels, again):
            self.awaiting = True
            return True
        return False

    def _tells_first(self, server: Server, finding: Finding) -> bool:
        """Whether a text with NOTIFY must wait: from now on all that this server notifies is this client's,
        and listeners are to know it by the pid that others know, but what came before is somebody else's. The
        server is kept meanwhile."""
        hub = cast("Hub | None", self.pool.hub)
        if not finding.notifies or finding.channels or hub is None or not hub.hears():
            return False
        if server.listens or server.pipeline.doomed():
            return False
        if server.pipeline.owes_client() and not server.pipeline.open:
            self.awaiting = True  # an exchange before it ends first, as it would have
            return True
        if self.hearing is None:
            self.hearing = Hearing(self, hub)
        if self.hearing.sends_from(server.pid):
            return False
        self.awaiting = True
        if not server.pipeline.open:
            self.holding = True
        return True

    def _lend(self, server: Server, finding: Finding | None) -> None:
        """What a text changes of what this client listens to shows on a server that listens to that. Not in a
        batch that has run nothing, if the text only may: a procedure that commits wants to be its first."""
        hearing = self.hearing
        if finding is None or hearing is None or not hearing.channels:
            return
        says = finding.unlistens or len(finding.channels) > 0
        if not says and finding.reason not in _HIDES_UNLISTEN:
            return
        server.suspect("listen")
        pipeline = server.pipeline
        if server.lent or server.listens or pipeline.copying_in or pipeline.unclear or pipeline.doomed():
            return
        if pipeline.settled() or says or pipeline.executes > 0:
            self._prefix += server.lend(hearing.channels, hearing.encoding())

    def _discard_sequences(self, server: Server) -> None:
        """What currval and lastval would tell here, where this transaction has not drawn from a sequence, is
        another client's (sessions.md, rule 14). Whoever asks once asks again, perhaps where nothing can be
        put ahead: from now on it is done as each exchange begins."""
        pipeline = server.pipeline
        self.pool.sequences_asked = True
        if self.drew or server.own_draws or self.pool.session_mode or pipeline.doomed():
            return
        if pipeline.copying_in or pipeline.unclear or pipeline.hasty:
            return
        if pipeline.owes_client() or pipeline.status != STATUS_FAILED:
            self._prefix += server.forget_sequences()

    def _restore(self, server: Server) -> None:
        """A RESET of its own has been forwarded: behind it goes what it started with."""
        names, self.resets = self.resets, None
        started = self.startup.over(self.pool.baseline)
        if names is not None and EVERYTHING not in names:
            started = (
                started.without_identity()
                if ALL in names
                else parameter_set({name: started.values[name] for name in names if name in started.values})
            )
        if started.values and server.pipeline.settled():
            server.restore(started)

    def _learn_bound(self, position: int, end: int) -> None:
        """The values of a Bind may name the custom settings that its statement sets."""
        self.pool.custom_names.learn(bound_names(self.stream.copy(position, end)))

    def proceed(self) -> None:
        self.awaiting = False
        self.read_on()
