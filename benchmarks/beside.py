"""What steady clients feel while many others log in beside them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from benchmarks.crowd import percentile
from benchmarks.steady import Query
from benchmarks.targets import Target
from benchmarks.workloads import Clients, Plan, Sample, Void, Workload, finish, until_standing

STEADY = 20  #: clients, as many as there are servers
RATE = 50  #: queries a second of each
LEAD = 0.3  #: seconds from the order to the first arrival


@dataclass(frozen=True, slots=True)
class Beside(Workload):
    """A crowd that logs in beside steady clients. The value: p99 in ms of the queries of the steady ones,
    from the first arrival until the last of the crowd has its answer. Rate and latencies are those of the
    logins."""

    programs: Clients

    def command(self, plan: Plan) -> str:
        steady, crowd = self._arguments(plan.crowd, plan)
        return (
            f"python -m benchmarks.steady {' '.join(steady)} & python -m benchmarks.crowd {' '.join(crowd)}"
        )

    def run(self, target: Target, plan: Plan) -> Sample:
        """Raises Void when one of the two generators was late."""
        return self.apart(target, target, plan)

    def apart(self, target: Target, crowded: Target, plan: Plan) -> Sample:
        """The same where the crowd logs in at another target than that of the steady clients."""
        count = min(plan.crowd, crowded.clients - STEADY)
        steady_arguments, crowd_arguments = self._arguments(count, plan)
        start = self.programs.start_lean
        with (
            start(target, *steady_arguments, module="benchmarks.steady") as steady,
            start(crowded, *crowd_arguments, module="benchmarks.crowd") as crowd,
        ):
            until_standing(steady)
            until_standing(crowd)
            begin = time.monotonic() + LEAD
            assert crowd.stdin is not None
            crowd.stdin.write(f"{begin}\n")
            served = json.loads(finish(crowd))
            queries: list[Query] = json.loads(finish(steady))
        meanwhile = [query for query in queries if begin <= query[0] <= served["ended"]]
        if not meanwhile:
            raise RuntimeError("no steady client asked anything meanwhile")
        check_punctual(plan, served["late_ms"], percentile(sorted(query[2] for query in meanwhile)))
        p99 = percentile(sorted(query[1] for query in meanwhile))
        return Sample(p99, count / (served["ended"] - begin), served["mean_ms"], served["p99_ms"])

    @staticmethod
    def _arguments(count: int, plan: Plan) -> tuple[list[str], list[str]]:
        return (
            ["--clients", str(STEADY), "--rate", str(RATE)],
            ["--clients", str(count), "--within", f"{plan.crowd_seconds:g}"],
        )


def check_punctual(plan: Plan, arrivals: float, queries: float) -> None:
    """Both: ms of lateness of a generator's own, p99. Raises Void."""
    for what, late, most in zip(
        ("arrivals", "steady queries"), (arrivals, queries), plan.late_ms, strict=True
    ):
        if late > most:
            raise Void(f"the generator was late: {what} by {late:.1f} ms (p99; at most {most:g})")
