"""The scenarios by name. Each says what happens, and what must hold."""

from __future__ import annotations

from benchmarks.storm.scenarios.ramp import Ramp
from benchmarks.storm.scenarios.scenario import Scenario

SCENARIOS: dict[str, type[Scenario]] = {scenario.name: scenario for scenario in (Ramp,)}
