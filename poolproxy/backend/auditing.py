"""What a server may hold of its client's: suspicion, audit, pins, and the way to the next client.

Text that may leave something behind makes its server suspect (session/statements.py). Once the transaction
has ended, and before its client is told so, the server is asked what it holds; the answer alone decides: the
settings are the client's from then on, and what cannot be carried to another server pins this one until an
audit finds it gone. Whatever an audit cannot see is undone before another client gets the server
(sessions.md, rules 2, 3, 12, 13). Compiled. Must not know the frontend.
"""

from __future__ import annotations

from poolproxy.backend.returning import ReturningServer
from poolproxy.backend.server_session import AUDIT_SOON, Refusal
from poolproxy.protocol import messages
from poolproxy.session.audit import Audited, audit_query, read_audit
from poolproxy.session.channels import UNLISTEN
from poolproxy.session.parameters import AT_ONCE, EMPTY
from poolproxy.session.pins import AUDITED, LASTING, TAINTING

STATUS_IDLE = 0x49

#: Seconds between two audits of a pinned server that nothing is heard of double up to this.
AUDIT_LATE = 60.0

_READY = messages.ready_for_query(STATUS_IDLE)

#: How the state behind a reason is discarded where it is not to pin (session_pinning_filters).
_DISCARDED = {
    "temp_object": b"DISCARD TEMP",
    "advisory_lock": b"SELECT pg_catalog.pg_advisory_unlock_all()",
    "holdable_cursor": b"CLOSE ALL",
    "sql_prepare": b"DEALLOCATE ALL",
    "listen": b"UNLISTEN *",
}


class AuditedServer(ReturningServer):
    """See the module."""

    __slots__ = ()

    def suspect(self, reason: str) -> None:
        """What is about to be run may leave something behind; a tainting reason says that it will."""
        if self.pool.session_mode:
            return
        self.suspected = True
        self.dirty = self.sink
        if reason in LASTING:
            self.pin_down(reason)

    def auditable(self) -> bool:
        """Whether this is the time to ask: a suspect transaction has ended, and nothing is under way."""
        sink = self.sink
        return (
            self.suspected
            and sink is not None
            and not sink.holding
            and not self.cancelling
            and self.pipeline.idle()
            and self.pin not in TAINTING
            and not sink.in_message()
        )

    def discardable(self) -> bool:
        """Whether DISCARD ALL may be run as its parts now: outside a transaction, with nothing under way, and
        where SQL text has not prepared anything here, which only a DEALLOCATE ALL would end."""
        return (
            not self.pool.session_mode
            and self.pipeline.quiet()
            and self.pipeline.idle()
            and not (self.suspected or self.cancelling or self.prepared.by_text or self.prepared.literal)
            and (not self.pin or (self.pin in AUDITED and self.pin != "sql_prepare"))
        )

    def discarded(self) -> None:
        """Its client has discarded everything: nothing is left of it, or of anybody before it."""
        self.parameters = EMPTY
        self.dirty = None
        self.listens = False
        self.unpin()

    def audit(self) -> None:
        """Ask what this server holds. Its client waits."""
        assert self.sink is not None
        self.auditing = True
        self.sink.hold()
        self._ask()

    def _ask(self) -> None:
        # The books know of these, whatever has been forgotten meanwhile.
        held = [name for name in self.parameters.values if "." in name]
        self.ask_rows(audit_query(self.pool.custom_names, held), self._audited)

    def _audited(self, rows: list[list[str]], refusal: Refusal | None) -> None:
        if refusal is not None and self.pool.custom_names.forget_named(refusal.get("M", "")):
            self._ask()  # one of them is nobody's business but a superuser's
            return
        audits = self.pool.counters.audits
        result = "failed"
        if refusal is None:
            self.suspected = False
            found = read_audit(rows, self.parameters, self.origin, self.reported)
            self.parameters = found.parameters
            if self.sink is not None:
                self.sink.audited(found.parameters, found.role)
            self._hold_to(found)
            result = "pinned" if self.pin else "clean"
        else:
            self.pin_down("unaudited")
        audits[result] = audits.get(result, 0) + 1
        if self.pipeline.quiet():
            self._audit_over()

    def _tidied(self, refusal: Refusal | None) -> None:
        """Something that the audit asked for has been done."""
        if refusal is not None:
            self.pin_down("unaudited")
        if self.pipeline.quiet():
            self._audit_over()

    def _audit_over(self) -> None:
        self.auditing = False
        if self.sink is not None and self.sink.listening and self.ready_kept:
            self.hear_first()
        elif self.sink is not None:
            self._say_ready()
            self.sink.let_go()

    def hear_first(self) -> None:
        """Its client's ReadyForQuery waits for what has been notified before it (rule 15)."""
        assert self.sink is not None
        self.fencing = True
        self.sink.hold()
        self.sink.hear_out()

    def _say_ready(self) -> None:
        """The ReadyForQuery that waited for the audit."""
        sink = self.sink
        if sink is not None and self.ready_kept:
            if sink.told is not self.reported:
                self.tell(sink)
            if sink.listening:
                sink.tell_heard()
            sink.write(_READY, 0, len(_READY))
        self.ready_kept = False

    def _hold_to(self, found: Audited) -> None:
        """Pin this server for what cannot be carried to another one, or let it go."""
        left = set(found.left)
        if found.channels or found.lent:
            self._listen_no_more(found, left)
        else:
            self.listens = False
        self.lent = False
        self.unclaimed.clear()
        self.unclaimed_bytes = 0
        if found.ours < len(self.prepared):
            self._deallocated_out_of_sight(found.ours)
        if found.prepared - self.prepared.literal:
            left.add("sql_prepare")
        else:
            self.prepared.by_text = False
            if self.prepared.literal:
                self._close_literal()
        discarded = left.intersection(self.pool.route.session_pinning_filters)
        if discarded:
            left -= discarded
            if "sql_prepare" in discarded:
                self.prepared.clear()
            texts = b"; ".join(_DISCARDED[reason] for reason in sorted(discarded))
            self.ask(AT_ONCE.encode() + texts, self._tidied)
        if found.unrepeatable:
            self.pin_down("unaudited")
        elif self.pin not in left and (not self.pin or self.pin in AUDITED):
            self.unpin()
            for reason in AUDITED:
                if reason in left:
                    self.pin_down(reason)
                    break

    def _listen_no_more(self, found: Audited, left: set[str]) -> None:
        """What it listens to is the hub's from now on; or, where the hub does not, it goes on."""
        sink = self.sink
        if sink is None:
            return
        if self.listens or not sink.took(found.channels, found.lent):
            self.listens = True
            for message in self.unclaimed:
                sink.notified(message)
            return
        left.discard("listen")
        self.ask(UNLISTEN, self._tidied)

    def _deallocated_out_of_sight(self, left: int) -> None:
        """By code, as no text shows it: all of them if none is left, else some."""
        self.prepared.distrust()
        if not left and self.sink is not None:
            self.sink.deallocated(None)

    def _close_literal(self) -> None:
        """Statements that were parsed under their client's names for one text: the books know them."""
        closes = [messages.close(b"S", name) for name in self.prepared.literal]
        self.prepared.literal.clear()
        self.ask_batch(b"".join(closes) + messages.sync(), self._tidied)

    def audit_again(self, now: float) -> None:
        """The sweep: what pins this server may have ended in a way that no text shows."""
        if self.pin not in AUDITED or self.suspected or now < self.pinned_at + AUDIT_SOON:
            return
        if now >= self.audited_at + self.audit_pause:
            self.suspected = True
            if self.auditable():
                self.audited_at = now
                self.audit_pause = min(AUDIT_LATE, 2 * self.audit_pause)
                self.audit()
            else:
                self.suspected = False
