"""A pipeline between a client that sends anything and a model of PostgreSQL that answers when it likes."""

from __future__ import annotations

from poolproxy.session.pipeline import CLOSED, PARSED, Pipeline, Step
from tests.unit.session.postgres_model import Postgres

IDLE = 0x49


class Dialogue:
    """`send` tells the pipeline and puts the message on the wire; `work` lets the server read one, `hear`
    lets the pipeline hear one answer. Every step checks what must hold between the two."""

    def __init__(self, pipeline: type[Pipeline] = Pipeline) -> None:
        self.pipeline = pipeline()
        self.server = Postgres()
        self.wire: list[str] = []
        self.channel: list[tuple[str, bool]] = []

    def send(self, message: str) -> bool:
        """False when the proxy would not forward this message now."""
        if (message == "0" and not self._settling()) or (message in "13" and not self.pipeline.open):
            return False
        if message in "dx.!H" and self.pipeline.idle():
            return False  # its client has no server: such messages are dropped
        self._tell(message)
        self.wire.append(message)
        self.check()
        return True

    def _settling(self) -> bool:
        """Queries of ours go out only ahead of everything of the client's."""
        return not self.pipeline.open and all(unit.skip for unit in self.pipeline.units)

    def _tell(self, message: str) -> None:
        pipeline = self.pipeline
        if message == "0":
            pipeline.skip_query()
        elif message in "QqCF":
            pipeline.query(())
        elif message in "Pp":
            pipeline.parse(())
        elif message == "1":
            pipeline.expect(Step(PARSED, True))
        elif message == "3":
            pipeline.expect(Step(CLOSED, True))
        elif message == "K":
            pipeline.close()
        elif message == "B":
            pipeline.bind()
        elif message in "Eec":
            pipeline.execute()
        elif message == "D":
            pipeline.extended()
        elif message in "dx" and not pipeline.copying_in:
            pipeline.early_copy_data()
        elif message == "S":
            pipeline.sync()
        elif message in ".!":
            pipeline.copy_ended()

    def work(self) -> None:
        """The server reads its next message, and what it says goes on its way."""
        if self.wire:
            self.server.take(self.wire.pop(0))
            self.channel += self.server.answers
            self.server.answers = []

    def hear(self) -> None:
        """The next answer arrives."""
        if not self.channel:
            return
        letter, own = self.channel.pop(0)
        pipeline = self.pipeline
        if letter == "Z":
            unit = pipeline.ready(IDLE)
            assert unit is not None or pipeline.unclear, "a ReadyForQuery that nobody asked for"
            assert pipeline.unclear or unit is None or unit.skip == own
        elif letter == "E":
            pipeline.error(True)
        elif letter == "G":
            pipeline.copy_in()
        elif letter == "1":
            assert (pipeline.complete(PARSED) is not None) == own or pipeline.unclear
        elif letter == "3":
            assert (pipeline.complete(CLOSED) is not None) == own or pipeline.unclear
        self.check()

    def finish(self) -> None:
        """Everything arrives."""
        while self.wire:
            self.work()
        while self.channel:
            self.hear()

    def check(self) -> None:
        """Said to be idle, the server owes nothing, whatever is still on the way in either direction."""
        if not self.pipeline.idle() or self.server.dead:
            return
        later = self.server.after(self.wire)
        assert later.dead or (later.owes_nothing() and not self.channel), f"{self.pipeline} with {later}"

    def agreed(self) -> bool:
        """With everything delivered: books and server agree on what is owed, or the books say `unclear`."""
        if self.pipeline.unclear or self.server.dead:
            return True
        copying = bool(self.server.copying)
        return (
            bool(self.pipeline.units) == (self.server.copying == "simple")
            and self.pipeline.copying_in == copying
            and (self.pipeline.open == self.server.open or copying)
        )


def talk(script: str, pipeline: type[Pipeline] = Pipeline) -> Dialogue:
    """A dialogue from a script: letters are sent, `>` lets the server read one, `<` lets the pipeline hear
    one, `*` delivers everything; blanks mean nothing."""
    dialogue = Dialogue(pipeline)
    for step in script:
        if step == ">":
            dialogue.work()
        elif step == "<":
            dialogue.hear()
        elif step == "*":
            dialogue.finish()
        elif step != " ":
            assert dialogue.send(step), f"{step} is not forwarded in {script}"
    return dialogue
