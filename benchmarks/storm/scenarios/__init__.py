"""The scenarios by name. Each says what happens, and what must hold."""

from __future__ import annotations

from benchmarks.storm.scenarios.deploy import Deploy
from benchmarks.storm.scenarios.diurnal import Diurnal
from benchmarks.storm.scenarios.freeze import Freeze
from benchmarks.storm.scenarios.kill import Kill, Vanish
from benchmarks.storm.scenarios.load import Load
from benchmarks.storm.scenarios.neighbour import Neighbour
from benchmarks.storm.scenarios.ramp import Ramp, Spike
from benchmarks.storm.scenarios.retry import Retry
from benchmarks.storm.scenarios.scenario import Scenario
from benchmarks.storm.scenarios.thaw import Thaw
from benchmarks.storm.scenarios.tls import Tls

#: What runs when none is named; `load` is for those who bring their own.
STORMS: tuple[type[Scenario], ...] = (
    Ramp,
    Spike,
    Diurnal,
    Deploy,
    Freeze,
    Thaw,
    Kill,
    Vanish,
    Retry,
    Neighbour,
    Tls,
)

ALL: tuple[type[Scenario], ...] = (*STORMS, Load)
SCENARIOS = {scenario.name: scenario for scenario in ALL}
