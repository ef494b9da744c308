"""One server connection whose client has left: what that began is finished, rolled back and undone.

Then it returns to its pool, or is closed where that is all that is left (sessions.md, rule 23). Compiled.
Must not know the frontend.
"""

from __future__ import annotations

from poolproxy.backend.parsing import ParsingServer
from poolproxy.backend.server_session import STOPS, STOPS_ALL, Refusal
from poolproxy.protocol import messages
from poolproxy.session.lifecycle import SERVER_RESETTING
from poolproxy.session.parameters import EMPTY, HANDOVER
from poolproxy.session.pins import TAINTING

STATUS_IDLE = 0x49

_ROLL_BACK = messages.parse(b"", b"ROLLBACK") + messages.bind(b"", b"") + messages.execute() + messages.sync()


class ReturningServer(ParsingServer):
    """See the module."""

    __slots__ = ()

    def abandon(self, partial: bool, vanished: bool) -> None:
        """The client has left. `partial`: in the middle of a message that was forwarded in part, which cannot
        be mended. `vanished`: without a Terminate.

        What runs is finished (sessions.md, rule 23) or, where `client_loss` says so, cancelled; an open batch
        or COPY is ended, a transaction rolled back.
        """
        now = self.stream.poller.now
        self.sink = None
        self.ready_kept = self.fencing = False
        self.pool.move_server(self, SERVER_RESETTING)
        cancelled = vanished and self.pool.route.client_loss == "cancel"
        self.rescue_until = now if cancelled else now + self.pool.route.server_rescue_timeout
        if self.stream.paused:
            self.stream.resume()
        pipeline = self.pipeline
        if partial or pipeline.unclear:
            self._leave_to_end("its client left in the middle of something", partial)
            return
        self.framer.stops = STOPS
        if pipeline.copying_in:
            self._end_copy()
        elif pipeline.open:
            self._end_batch()
        if pipeline.quiet() and not self._errands:
            self.clean_up()

    def _end_copy(self) -> None:
        """Nobody goes on with the COPY that the server waits for."""
        pipeline = self.pipeline
        self.stream.send(messages.copy_fail(b"the client has left"))
        pipeline.copy_ended()
        if pipeline.open:
            self.stream.send(messages.sync())
            pipeline.sync()

    def _end_batch(self) -> None:
        """Nobody sends the Sync of the open batch, and one alone would commit it. A ROLLBACK ends an implicit
        transaction, too (xact.c: UserAbortTransactionBlock); where the batch has failed it is skipped."""
        self.stream.send(_ROLL_BACK)
        self.unnamed_number = 0
        self.ending_batch = True
        self.pipeline.parse(())
        self.pipeline.bind()
        self.pipeline.sync()

    def _leave_to_end(self, reason: str, partial: bool) -> None:
        """It cannot be told any more where its answers end. Behind a Terminate PostgreSQL runs what it has
        got, rolls back what is open, and leaves."""
        if not partial:
            self.stream.send(messages.terminate())
        self.close(reason)

    def clean_up(self) -> None:
        """Idle as far as answers go: end the transaction, undo what a pin stands for, give it to the pool."""
        if self.cancelling:
            return
        self.ending_batch = False
        pipeline = self.pipeline
        if pipeline.unclear or self.pin in TAINTING:
            self.close("what its client left behind cannot be undone")
        elif pipeline.status != STATUS_IDLE:
            self.ask(b"ROLLBACK", self._cleaned)
        elif self.pin or self.suspected:
            self.parameters = EMPTY
            self.ask(b"DISCARD ALL", self._discarded)
        elif self.dirty is not None or self.reset_due:
            self.hand_over()
        else:
            self.framer.stops = STOPS_ALL
            self._release(self.stream.poller.now)

    def _cleaned(self, refusal: Refusal | None) -> None:
        if refusal is not None:
            self.close(f"it refused to roll back: {refusal.get('M', '')}")

    def _discarded(self, refusal: Refusal | None) -> None:
        if refusal is not None:
            self.close(f"it refused to discard its state: {refusal.get('M', '')}")
        else:
            self.prepared.clear()
            self.suspected = self.reset_due = self.listens = self.lent = False
            self.dirty = None
            self.unpin()

    def hand_over(self) -> None:
        """Undo what nobody can see, while nobody waits."""
        self.dirty = None
        self.reset_due = False
        self.parameters = EMPTY
        self.pool.counters.handover_resets += 1
        self._return(1)
        self.ask(HANDOVER, self._handed_over)

    def _handed_over(self, refusal: Refusal | None) -> None:
        self._return(0)
        if refusal is not None:
            self.close(f"it refused to be reset: {refusal.get('M', '')}")

    def _release(self, now: float) -> None:
        """To the pool, or out of it when it is too old."""
        self.rescue_until = 0.0
        self.rescue_cancelled = False
        if self.expires and now >= self.expires:
            self.close("it has reached its lifetime")
        else:
            self.pool.release(self, now)
