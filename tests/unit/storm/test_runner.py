"""Where model and machine meet: what the model decides is done, and told, in whatever order it happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from benchmarks.storm.clients import Meter
from benchmarks.storm.model.actions import Action
from benchmarks.storm.model.environment import FROZEN
from benchmarks.storm.model.poller import Poller
from benchmarks.storm.model.service import Service
from benchmarks.storm.runtime.runtime import Answer
from tests.unit.storm.stormy import INIT, INVOKE, NEVER, Sent, Weather
from tests.unit.storm.virtual_time import run, turns

FAILED = Answer(True, "ValueError", "no")
EXITED = Answer(True, "Runtime.ExitError", "exited", exited=True)


def storm(story: Coroutine[Any, Any, None]) -> None:
    """Play it, and see that no task outlives it."""

    async def play() -> None:
        await story
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(play())


def test_an_environment_from_its_start_to_its_end() -> None:
    async def story() -> None:
        weather = Weather()
        async with weather.storm:
            await weather.send(Sent(1.0, "a"), Sent(5.0, "b"))
            assert weather.outcomes == {"succeeded": 2}
            assert weather.storm.clients() == 1
            (environment,) = weather.storm.environments()
            assert environment.state == FROZEN
        assert weather.heard == [[INIT, "thaw", "INVOKE a", "freeze", "thaw", "INVOKE b", "freeze"]]
        assert weather.host.closed == 1
        assert weather.storm.clients() == 0

    storm(story())


def test_who_comes_while_all_are_busy_gets_an_environment_of_his_own() -> None:
    async def story() -> None:
        weather = Weather()
        weather.host.does(INVOKE, 5.0, 5.0)
        async with weather.storm:
            await weather.send(Sent(0.0, "a"), Sent(1.0, "b"))
            assert len(weather.storm.environments()) == 2
            assert weather.storm.clients() == 2

    storm(story())


def test_arrivals_are_sent_at_their_times_whatever_becomes_of_those_before() -> None:
    async def story() -> None:
        weather = Weather(scale=10.0)
        weather.host.does(INVOKE, 20.0, 20.0, 20.0)
        sent: list[float] = []

        def arrivals() -> Iterator[Sent]:
            for moment in (0.0, 3.0, 3.5):
                yield Sent(moment)
                sent.append(weather.clock.now())

        async with weather.storm:
            await weather.storm.send(arrivals(), 100.0)
        assert sent == pytest.approx([0.0, 3.0, 3.5])
        assert weather.recorder.trial.lateness.max == 0
        assert weather.outcomes == {"succeeded": 3}

    storm(story())


def test_the_generator_says_how_late_it_was_in_wall_time() -> None:
    async def story() -> None:
        weather = Weather(scale=10.0)
        await weather.clock.sleep(4.0)
        async with weather.storm:
            await weather.send(Sent(1.0))
        assert weather.recorder.trial.lateness.max == pytest.approx(300, rel=0.01)

    storm(story())


def test_latency_counts_from_the_intended_start_in_wall_time() -> None:
    async def story() -> None:
        weather = Weather(scale=10.0)
        weather.host.does(INVOKE, 1.0, 20.0)
        async with weather.storm:
            await weather.send(Sent(0.0), Sent(10.0))
            await weather.clock.sleep_until(40.0)
        assert weather.progress.latency.max == pytest.approx(2000, rel=0.01)

    storm(story())


def test_the_handler_is_told_what_it_must_know() -> None:
    async def story() -> None:
        weather = Weather(timeout=7.0, memory=512)
        async with weather.storm:
            await weather.send(Sent(0.0, "a"))
        (request,) = weather.host.made[0].requests
        assert (request.function, request.memory, request.event, request.attempt) == ("f", 512, "a", 1)
        assert request.remaining == pytest.approx(7.0)

    storm(story())


def test_other_work_keeps_an_environment_busy_after_its_handler() -> None:
    async def story() -> None:
        weather = Weather(work=lambda invocation: 10.0 if invocation.event == "a" else 0.0)
        async with weather.storm:
            await weather.send(Sent(0.0, "a"), Sent(5.0, "b"))
        assert weather.heard == [[INIT, "thaw", "INVOKE a", "freeze"], [INIT, "thaw", "INVOKE b", "freeze"]]

    storm(story())


def test_who_has_failed_has_no_other_work_left() -> None:
    async def story() -> None:
        weather = Weather(work=lambda _: 10.0)
        weather.host.does(INVOKE, 0.0, answer=FAILED)
        async with weather.storm:
            await weather.send(Sent(0.0))
            assert weather.clock.now() < 10.0
        assert weather.outcomes == {"failed": 1}
        assert weather.progress.errors == {"ValueError": 1}

    storm(story())


# Walls.


def test_the_timeout_wall_kills_and_the_next_run_initialises_anew() -> None:
    async def story() -> None:
        weather = Weather(timeout=3.0)
        async with weather.storm:
            await weather.warm()
            weather.host.does(INVOKE, NEVER)
            await weather.send(Sent(10.0, "a"), Sent(20.0, "b"))
        assert weather.outcomes == {"succeeded": 2, "timed out": 1}
        assert weather.heard == [["thaw", "INVOKE a", "kill", "thaw", INIT, "INVOKE b", "freeze"]]

    storm(story())


def test_an_answer_in_the_moment_of_the_wall_comes_too_late() -> None:
    async def story() -> None:
        weather = Weather(timeout=3.0)
        async with weather.storm:
            await weather.warm()
            weather.host.does(INVOKE, 3.0)
            await weather.send(Sent(10.0, "a"))
            await weather.clock.sleep(60.0)
        assert weather.outcomes == {"succeeded": 1, "timed out": 1}
        assert weather.heard[0][-1] == "kill"

    storm(story())


def test_the_wall_may_come_during_other_work() -> None:
    async def story() -> None:
        weather = Weather(timeout=3.0, work=lambda _: 10.0)
        weather.host.does(INVOKE, 0.0, answer=Answer(meter=Meter(commits=1)))
        async with weather.storm:
            await weather.send(Sent(0.0))
            await weather.clock.sleep(60.0)
        assert weather.outcomes == {"timed out": 1}
        assert len(weather.recorder.acknowledged) == 1  # its handler has seen its COMMIT all the same

    storm(story())


def test_the_end_of_work_that_a_wall_has_cut_off_does_not_end_what_came_after() -> None:
    async def story() -> None:
        weather = Weather(timeout=8.0, work=lambda invocation: 10.0 if invocation.event == "a" else 0.0)
        weather.host.does(INVOKE, 0.0, 5.0)
        async with weather.storm:
            sending = asyncio.create_task(weather.send(Sent(0.0, "a"), Sent(9.0, "b")))
            await weather.clock.sleep_until(13.0)
            assert weather.outcomes == {"timed out": 1}
            await sending
        assert weather.outcomes == {"timed out": 1, "succeeded": 1}
        assert len(weather.heard) == 1

    storm(story())


def test_an_init_that_takes_too_long_is_killed_and_run_again_in_the_invocation() -> None:
    async def story() -> None:
        weather = Weather()
        weather.host.does(INIT, NEVER, 2.0)
        async with weather.storm:
            await weather.send(Sent(0.0, "a"))
            assert weather.clock.now() > 12.0
        assert weather.heard == [[INIT, "kill", "thaw", INIT, "INVOKE a", "freeze"]]
        assert weather.outcomes == {"succeeded": 1}

    storm(story())


def test_an_init_that_fails_is_run_again_and_its_second_failure_is_the_invocation_s() -> None:
    async def story() -> None:
        weather = Weather()
        weather.host.does(INIT, 0.0, 0.0, answer=FAILED)
        async with weather.storm:
            await weather.send(Sent(0.0, "a"), Sent(5.0, "b"))
        assert weather.heard == [[INIT, "thaw", INIT, "thaw", INIT, "INVOKE b", "freeze"]]
        assert weather.outcomes == {"failed": 1, "succeeded": 1}
        assert weather.progress.errors == {"ValueError": 2}

    storm(story())


def test_a_wall_in_the_moment_in_which_init_is_over_leaves_the_handler_alone() -> None:
    async def story() -> None:
        weather = Weather()
        async with weather.storm:
            await weather.warm()
            (environment,) = weather.storm.environments()
            weather.storm.crash(environment)
            weather.host.does(INIT, NEVER)
            sending = asyncio.create_task(weather.send(Sent(weather.clock.now(), "a")))
            await turns()
            (runtime,) = weather.host.made
            assert runtime.heard[-1] == INIT
            runtime.finish()
            weather.storm.crash(environment)
            await sending
        assert weather.heard == [["kill", "thaw", INIT, "kill"]]
        assert weather.outcomes == {"succeeded": 1, "failed": 1}

    storm(story())


def test_an_environment_that_crashes_before_its_code_has_begun_runs_none() -> None:
    async def story() -> None:
        weather = Weather()
        async with weather.storm:
            await weather.warm()
            (environment,) = weather.storm.environments()
            weather.invoke("a")
            weather.storm.crash(environment)
            await turns()
        assert weather.heard == [["kill"]]
        assert weather.outcomes == {"succeeded": 1, "failed": 1}

    storm(story())


def test_a_frozen_environment_that_crashes_is_initialised_by_its_next_invocation() -> None:
    async def story() -> None:
        weather = Weather()
        async with weather.storm:
            await weather.warm()
            (environment,) = weather.storm.environments()
            weather.storm.crash(environment)
            await weather.send(Sent(10.0, "a"))
        assert weather.heard == [["kill", "thaw", INIT, "INVOKE a", "freeze"]]

    storm(story())


def test_a_runtime_that_ends_by_itself_fails_its_invocation_and_is_initialised_anew() -> None:
    async def story() -> None:
        weather = Weather()
        weather.host.does(INVOKE, 0.0, answer=EXITED)
        async with weather.storm:
            await weather.send(Sent(0.0, "a"), Sent(5.0, "b"))
        assert weather.heard == [[INIT, "thaw", "INVOKE a", "thaw", INIT, "INVOKE b", "freeze"]]
        assert weather.outcomes == {"failed": 1, "succeeded": 1}

    storm(story())


# Deployments and the end.


def test_a_deployment_replaces_who_is_idle_at_once_and_who_is_busy_when_he_is_done() -> None:
    async def story() -> None:
        weather = Weather()
        async with weather.storm:
            await weather.warm("vw")
            weather.host.does(INVOKE, 5.0)
            sending = asyncio.create_task(weather.send(Sent(10.0, "a"), Sent(20.0, "b")))
            await weather.clock.sleep_until(12.0)
            weather.storm.perform(weather.service.deploy("f", weather.clock.now()))
            await turns()
            assert weather.storm.clients() == 1
            await sending
            assert len(weather.storm.runtimes()) == 1
        # Whoever was done last is the warmest. It is done, and not frozen any more.
        assert sorted(weather.heard) == sorted(
            [["kill"], ["thaw", "INVOKE a", "kill"], [INIT, "thaw", "INVOKE b", "freeze"]]
        )
        assert weather.outcomes == {"succeeded": 4}

    storm(story())


def test_a_deployment_in_the_midst_of_an_init() -> None:
    async def story() -> None:
        weather = Weather()
        weather.host.does(INIT, 5.0)
        async with weather.storm:
            sending = asyncio.create_task(weather.send(Sent(0.0, "a")))
            await weather.clock.sleep_until(3.0)
            weather.storm.perform(weather.service.deploy("f", weather.clock.now()))
            await sending
        assert weather.heard == [[INIT, "thaw", "INVOKE a", "kill"]]

    storm(story())


def test_an_extension_has_two_seconds_of_grace() -> None:
    async def story() -> None:
        weather = Weather(scale=10.0, extension=True)
        async with weather.storm:
            await weather.warm()
            weather.storm.perform(weather.service.deploy("f", weather.clock.now()))
            await weather.clock.sleep(1.9)
            assert weather.heard == [[]]
            assert weather.storm.clients() == 1
            await weather.clock.sleep(0.2)
            assert weather.heard == [["kill"]]
            assert weather.storm.clients() == 0

    storm(story())


def test_the_end_comes_in_the_midst_of_everything() -> None:
    async def story() -> None:
        weather = Weather(extension=True)
        async with weather.storm:
            await weather.warm("vw")
            weather.storm.perform(weather.service.deploy("f", weather.clock.now()))  # two in their grace
            weather.host.does(INVOKE, NEVER)
            await weather.send(Sent(10.0, "a"), patience=1.0)
            weather.invoke("b")  # and an INIT
        assert weather.host.closed == 1
        assert weather.outcomes == {"succeeded": 2}

    storm(story())


def test_patience_has_an_end() -> None:
    async def story() -> None:
        weather = Weather(timeout=900.0)
        weather.host.does(INVOKE, NEVER, NEVER)
        async with weather.storm:
            await weather.send(Sent(0.0, kind="asynchronous"), Sent(2.0, kind="asynchronous"), patience=50.0)
            assert weather.clock.now() == pytest.approx(52.0)
            assert weather.service.unsettled == 2

    storm(story())


def test_provisioned_environments_stand_before_anybody_comes() -> None:
    async def story() -> None:
        weather = Weather(provisioned=2)
        async with weather.storm:
            await weather.clock.sleep(10.0)
            assert weather.heard == [[INIT, "freeze"]] * 2

    storm(story())


def test_an_environment_that_is_replaced_before_its_runtime_has_started_runs_no_code() -> None:
    async def story() -> None:
        weather = Weather(provisioned=1)
        async with weather.storm:
            await turns()
            weather.storm.perform(weather.service.deploy("f", weather.clock.now()))
            await weather.clock.sleep(10.0)
            assert weather.heard == [["kill"], [INIT, "freeze"]]

    storm(story())


# Who calls.


def test_an_asynchronous_event_is_tried_again_after_one_minute_and_after_two() -> None:
    async def story() -> None:
        weather = Weather(scale=60.0)
        weather.host.does(INVOKE, 0.0, 0.0, answer=FAILED)
        async with weather.storm:
            await weather.send(Sent(0.0, kind="asynchronous"))
            assert weather.clock.now() == pytest.approx(180.0, abs=5.0)
        requests = weather.host.made[0].requests
        assert [request.attempt for request in requests] == [1, 2, 3]
        assert len({request.invocation for request in requests}) == 1
        assert weather.outcomes == {"succeeded": 1}

    storm(story())


def test_a_poller_s_messages_come_as_a_batch_of_the_queue() -> None:
    async def story() -> None:
        weather = Weather()
        weather.service.attach(Poller("f", batch_size=2, batch_window=5.0, queue="uploads"))
        weather.host.does(INVOKE, 0.0, answer=FAILED)
        async with weather.storm:
            await weather.send(
                *(Sent(float(at), name, "poller", "uploads") for at, name in enumerate("wxyz"))
            )
        assert weather.outcomes == {"succeeded": 2}
        batches: list[Any] = [request.event for runtime in weather.host.made for request in runtime.requests]
        records = sorted(
            (json.loads(record["body"]), record["attributes"]["ApproximateReceiveCount"], record)
            for batch in batches
            for record in batch["Records"]
        )
        assert [(body, receive) for body, receive, _ in records] == [
            *(("w", "1"), ("w", "2"), ("x", "1"), ("x", "2")),  # failed, and came back
            *(("y", "1"), ("z", "1")),
        ]
        ids = {
            body: {record["messageId"] for other, _, record in records if other == body} for body in "wxyz"
        }
        assert all(len(each) == 1 for each in ids.values())
        assert len(set.union(*ids.values())) == 4
        assert {record["eventSourceARN"].rpartition(":")[2] for _, _, record in records} == {"uploads"}

    storm(story())


def test_the_bill_says_what_was_spent_waiting_also_of_what_was_cut_off() -> None:
    async def story() -> None:
        weather = Weather(scale=10.0, timeout=3.0)
        weather.host.cut_off = Meter(connect_seconds=0.05)
        weather.host.does(INVOKE, 1.0, answer=Answer(meter=Meter(connect_seconds=0.02, begin_seconds=0.01)))
        weather.host.does(INVOKE, NEVER)
        async with weather.storm:
            await weather.send(Sent(0.0), Sent(10.0))
            await turns()
        # Metered in wall time, billed in Lambda's.
        assert weather.service.bill["f"].waiting == pytest.approx(10 * (0.03 + 0.05))

    storm(story())


# What goes wrong in here.


class Broken(Service):
    """A model with a fault."""

    def tick(self, now: float) -> list[Action]:
        raise RuntimeError("the model is broken")


def test_a_fault_of_the_model_is_heard_of() -> None:
    async def story() -> None:
        weather = Weather(service=Broken, timeout=3.0)
        weather.host.does(INVOKE, NEVER)
        with pytest.raises(RuntimeError, match="the model is broken"):
            async with weather.storm:
                await weather.send(Sent(0.0))
        assert weather.clock.now() < 60.0
        assert weather.host.closed == 1

    storm(story())


def test_an_environment_that_cannot_be_made_ends_the_storm() -> None:
    async def story() -> None:
        weather = Weather()
        weather.host.refuses = OSError("no processes are left")
        with pytest.raises(OSError, match="no processes are left"):
            async with weather.storm:
                await weather.send(Sent(0.0), Sent(1.0))
        assert weather.clock.now() < 5.0

    storm(story())


def test_nobody_counts_clients_of_an_environment_that_could_not_be_made() -> None:
    async def story() -> None:
        weather = Weather()
        async with weather.storm:
            await weather.warm()
            weather.host.refuses = OSError("no processes are left")
            weather.host.does(INVOKE, 5.0)
            with pytest.raises(OSError):
                await weather.send(Sent(10.0), Sent(11.0))
            assert weather.storm.clients() == 1

    storm(story())


def test_what_goes_wrong_after_the_last_has_settled_is_heard_of_at_the_end() -> None:
    async def story() -> None:
        weather = Weather()

        async def afterwards() -> None:
            async with weather.storm:
                await weather.warm()
                weather.host.refuses = OSError("no processes are left")
                weather.service.deploy("f", weather.clock.now())
                weather.invoke("a")
                await turns()

        with pytest.raises(OSError, match="no processes are left"):
            await afterwards()

    storm(story())


def test_the_error_of_the_block_is_the_one_that_is_raised() -> None:
    async def story() -> None:
        weather = Weather()
        weather.host.refuses = OSError("no processes are left")

        async def fail() -> None:
            async with weather.storm:
                weather.invoke("a")
                await turns()
                raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            await fail()

    storm(story())


def test_no_task_leaves_an_exception_behind_that_nobody_has_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def story() -> None:
        weather = Weather()
        weather.host.refuses = OSError("no")
        with pytest.raises(OSError):
            async with weather.storm:
                await weather.send(*(Sent(0.0, name) for name in "ab"))

    storm(story())
    assert capsys.readouterr().err == ""
