"""What the model wants done: every input of the service returns a list of these, to be carried out in order.

Must not know who carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.storm.model.environment import Environment
from benchmarks.storm.model.invocation import Invocation


@dataclass(frozen=True, slots=True)
class Start:
    """INIT begins. The platform needs `seconds` (package, runtime); then the module's code is to be run and
    `initialised` called. `provisioned`: no invocation waits for it."""

    environment: Environment
    seconds: float
    provisioned: bool


@dataclass(frozen=True, slots=True)
class Run:
    """THAW if it is frozen, and INVOKE. `cold`: its INIT was for this invocation. `initialise`: the runtime
    must be started and the module's code run first, inside the timeout. The deadline is in the
    invocation."""

    environment: Environment
    invocation: Invocation
    cold: bool
    initialise: bool


@dataclass(frozen=True, slots=True)
class Freeze:
    """Nothing of it runs any more until its next Run: no timer, no keepalive, no socket is read or
    written."""

    environment: Environment


@dataclass(frozen=True, slots=True)
class Reset:
    """The wall, of a timeout or of INIT's 10 s: its runtime is killed now, mid-statement. The environment
    stays, and its next Run has `initialise`. `invocation` is the one it ran or started for; None if
    provisioned."""

    environment: Environment
    invocation: Invocation | None


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Reaped, recycled or replaced by a deployment: `grace` seconds, then killed. 0 without an extension: no
    goodbye."""

    environment: Environment
    grace: float


@dataclass(frozen=True, slots=True)
class Settled:
    """The caller's view, final and once per invocation; `outcome` is one of `invocation.OUTCOMES`."""

    invocation: Invocation
    outcome: str


Action = Start | Run | Freeze | Reset | Shutdown | Settled
