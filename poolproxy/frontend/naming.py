"""Prepared statements that a client's SQL texts name: DEALLOCATE, EXECUTE and PREPARE find them under the
client's own names, for SQL and the protocol share them (sessions.md, rule 6).

Must not know how statements get to servers by messages (preparing.py). Compiled."""

from __future__ import annotations

from poolproxy.backend.server import Server
from poolproxy.frontend.texts import TextClient
from poolproxy.session.parameters import EMPTY
from poolproxy.session.prepared import UNSETTLED, ClientStatements
from poolproxy.session.statements import Finding


class NamingClient(TextClient):
    """See the module."""

    __slots__ = ()

    def _name_for_batch(self, server: Server, finding: Finding, text: bytes | None) -> None:
        """Something with DEALLOCATE, EXECUTE or PREPARE is about to be run: what it names must be there,
        under that name (rule 6)."""
        if finding.mentions:
            self._name_to_run(server, text)
        for name in self._to_stand_in(server, finding.forgets):
            self._prefix += server.parse_as(name, server.prepared.stand_in(name))
        self._expect_deallocated(server, finding.forgets)

    def _name_to_run(self, server: Server, text: bytes | None) -> None:
        """What EXECUTE in a text may mean must be there already when that is parsed: it has its columns."""
        if self.prepared is None or text is None:
            return
        pipeline = server.pipeline
        for name, statement in self.prepared.mentioned(text, pipeline.turn(), pipeline.answered):
            if not server.names(name):
                server.suspect("sql_prepare")  # the audit closes it again
                self._prefix += server.parse_as(name, statement.again())

    def _name_for_text(
        self, server: Server, finding: Finding, buffer: bytearray, begin: int, stop: int
    ) -> None:
        """The same for a Query, ahead of it."""
        prepared = self.prepared
        if server.pipeline.open:  # a batch, which no Sync of ours is to end
            self._name_for_batch(server, finding, self.stream.copy(begin, stop))
            return
        if finding.mentions and prepared is not None:
            text = self.stream.copy(begin, stop)
            for name, statement in prepared.mentioned(text, server.pipeline.turn(), server.pipeline.answered):
                if not server.names(name):
                    self._prefix += server.parse_ahead(name, statement.again())
        for name in self._to_stand_in(server, finding.forgets):
            self._prefix += server.parse_ahead(name, server.prepared.stand_in(name))
        self._expect_deallocated(server, finding.forgets)

    def _names_in_doubt(self, server: Server, finding: Finding | None) -> bool:
        """Whether what a text names depends on exchanges that are not answered."""
        return (
            self.prepared is not None
            and _names_statements(finding)
            and self.prepared.unsettled(server.pipeline.turn(), server.pipeline.answered)
        )

    def _names_wanted(self, buffer: bytearray, begin: int, stop: int) -> bool:
        """Whether the books must be settled before this text is run."""
        if self.prepared is None:
            return False
        finding = self._look(buffer, begin, stop)
        return _names_statements(finding)

    def _to_stand_in(self, server: Server, names: tuple[bytes, ...]) -> list[bytes]:
        """Which of these names the client knows, and the server does not."""
        prepared = self.prepared
        if prepared is None:
            return []
        turn, answered = server.pipeline.turn(), server.pipeline.answered
        return [
            name
            for name in names
            if not server.names(name) and prepared.find(name, turn, answered) not in (None, UNSETTLED)
        ]

    def _expect_deallocated(self, server: Server, names: tuple[bytes, ...]) -> None:
        """Tags will tell what became of these."""
        if not names:
            return
        server.look_closely()
        server.forgets += names
        turn = server.pipeline.turn()
        if self.prepared is None:
            self.prepared = ClientStatements()
        for name in names:
            if name:
                self.prepared.expect(name, None, turn, False)
            else:
                self.prepared.expect_nothing(turn)

    def deallocated(self, name: bytes | None) -> None:
        if self.prepared is not None:
            if name is None:
                self.prepared.forget_all()
            else:
                self.prepared.forget(name)
                if self.server is not None:
                    self.server.prepared.literal.discard(name)

    def discarded(self) -> None:
        if self.prepared is not None and self.server is not None:
            for statement in self.prepared.private():
                self.server.prepared.discard(statement)
            self.prepared.forget_all()
        self.unlistened()
        self.session = EMPTY
        self._settle_parameters()

    def name_of(self, name: bytes) -> bytes | None:
        return None if self.prepared is None else self.prepared.name_of(name)


def _names_statements(finding: Finding | None) -> bool:
    """Whether a text with this finding may be about prepared statements by their names."""
    return finding is not None and (finding.mentions or len(finding.forgets) > 0)
