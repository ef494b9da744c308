"""A session that answers as it is told, on a clock of its own."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.storm.clients.errors import ConnectionLost, ServerError
from benchmarks.storm.clients.session import Row, Session


class FakeSession(Session):
    """Answers every statement with its own first word, unless `answers` has something else for it: a tag, or
    an error to raise. `said` is all that was asked, `asked` the same with its arguments, `log` what was done
    to it from outside."""

    __slots__ = ("__weakref__", "answers", "asked", "log", "over", "said", "seconds", "time")

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, str | BaseException] = {}
        self.said: list[str] = []
        self.asked: list[tuple[str, Sequence[object]]] = []
        self.log: list[str] = []
        self.over = False
        self.time = 0.0  #: what the fake clock shows
        self.seconds = 0.0  #: that every statement takes

    async def _execute(self, sql: str, args: Sequence[object]) -> str:
        self.said.append(sql)
        self.asked.append((sql, args))
        self.time += self.seconds
        answer = self.answers.get(sql, sql.split()[0])
        if isinstance(answer, BaseException):
            fatal = isinstance(answer, ServerError) and answer.fatal
            self.over = self.over or fatal or isinstance(answer, ConnectionLost)
            raise answer
        return answer

    async def _fetch(self, sql: str, args: Sequence[object]) -> list[Row]:
        return [(await self._execute(sql, args),)]

    def _given_up(self) -> None:
        self.log.append("given up")

    @property
    def closed(self) -> bool:
        return self.over

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self.log.append("abort")
        self.over = True

    def freeze(self) -> None:
        self.log.append("freeze")

    def thaw(self) -> None:
        self.log.append("thaw")
