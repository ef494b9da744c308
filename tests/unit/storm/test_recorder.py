"""What happens in a trial, counted."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.storm.clients import Meter
from benchmarks.storm.histogram import Histogram
from benchmarks.storm.live import Progress
from benchmarks.storm.model.function import Function
from benchmarks.storm.model.invocation import Invocation
from benchmarks.storm.recorder import LATE, Recorder, limited
from benchmarks.storm.runtime.runtime import Answer

SCALE = 10.0


def invocation(name: str = "order", intended: float = 0.0) -> Invocation:
    return Invocation(f"id of {name}", Function(name), "event", "synchronous", intended, intended)


@pytest.fixture
def recorder() -> Recorder:
    progress = Progress("ramp", "poolproxy", 2, 5)
    return Recorder(progress, SCALE, lambda invocation: invocation.function.name)


def test_a_trial_says_what_it_was(recorder: Recorder) -> None:
    trial = recorder.finish(12.5)
    assert (trial.scenario, trial.target, trial.number, trial.seconds) == ("ramp", "poolproxy", 2, 12.5)
    assert trial.began.endswith("+00:00")


def test_latency_is_wall_time_from_the_intended_start(recorder: Recorder) -> None:
    recorder.settled(invocation(intended=30.0), "succeeded", 50.0)
    trial = recorder.finish(5.0)
    assert len(trial.latency) == 1
    assert trial.latency.max == pytest.approx(2000, rel=0.001)
    (second,) = trial.timeline
    assert (second.at, second.count, second.failures) == (5, 1, 0)
    assert second.max == pytest.approx(2000)


def test_how_it_ended_is_counted_by_outcome_and_by_group(recorder: Recorder) -> None:
    for name, outcome in (("a", "succeeded"), ("a", "failed"), ("b", "succeeded"), ("b", "succeeded")):
        recorder.settled(invocation(name), outcome, 1.0)
    assert recorder.ended == {"a": Counter(succeeded=1, failed=1), "b": Counter(succeeded=2)}
    assert {name: len(group) for name, group in recorder.groups.items()} == {"a": 2, "b": 2}
    trial = recorder.finish(1.0)
    assert trial.outcomes == {"succeeded": 3, "failed": 1}
    assert trial.timeline[0].failures == 1


@pytest.mark.parametrize(
    ("answer", "acknowledged"),
    [
        (Answer(meter=Meter(commits=1)), True),
        (Answer(meter=Meter(commits=0)), False),
        (Answer(True, "ValueError", "after COMMIT", Meter(commits=1)), False),
    ],
)
def test_acknowledged_is_who_has_committed_and_says_so(
    recorder: Recorder, answer: Answer, acknowledged: bool
) -> None:
    recorder.answered(invocation(), 2, answer)
    assert recorder.acknowledged == ([("id of order", 2)] if acknowledged else [])


def test_errors_are_counted_where_they_were_met(recorder: Recorder) -> None:
    meter = Meter(errors=Counter({"40001": 2, "57P01": 1}), examples={"40001": "no order", "57P01": "away"})
    recorder.answered(invocation(), 1, Answer(True, "57P01", "away", meter))
    trial = recorder.finish(1.0)
    assert trial.errors == {"40001": 2, "57P01": 1}
    assert trial.examples == {"40001": "no order", "57P01": "away"}


def test_an_error_that_no_session_has_seen_is_counted_too(recorder: Recorder) -> None:
    recorder.answered(invocation(), 1, Answer(True, "ValueError", "only 0 are left"))
    recorder.met(Answer(True, "ImportError", "no module"))
    assert recorder.finish(1.0).errors == {"ValueError": 1, "ImportError": 1}


def test_first_answers_are_the_connect_latency_also_those_of_an_init(recorder: Recorder) -> None:
    recorder.met(Answer(meter=Meter(first_answers=[0.010])))
    recorder.answered(invocation(), 1, Answer(meter=Meter(first_answers=[0.030, 0.020])))
    connect = recorder.finish(1.0).connect
    assert len(connect) == 3
    assert connect.max == pytest.approx(30, rel=0.001)


def test_lateness_is_kept_in_milliseconds_and_early_is_on_time(recorder: Recorder) -> None:
    recorder.sent(0.004)
    recorder.sent(-0.0005)
    lateness = recorder.finish(1.0).lateness
    assert (len(lateness), lateness.percentile(0)) == (2, 0.0)
    assert lateness.max == pytest.approx(4, rel=0.001)


@pytest.mark.parametrize(
    ("late", "of", "said"), [(0, 0, False), (0, 100, False), (1, 100, False), (2, 100, True)]
)
def test_a_generator_was_the_limit_when_one_in_a_hundred_was_late(late: int, of: int, said: bool) -> None:
    lateness = Histogram()
    for number in range(of):
        lateness.record(2 * LATE if number < late else 1.0)
    sentence = limited(lateness)
    assert bool(sentence) == said
    assert ("100 ms" in sentence) == said


def test_the_trial_says_that_the_generator_was_the_limit(recorder: Recorder) -> None:
    recorder.sent(1.0)
    assert "The generator was late" in recorder.finish(1.0).generator_limited
