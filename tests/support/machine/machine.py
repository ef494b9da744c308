"""The machine: all rules together."""

from __future__ import annotations

from tests.support.machine.asking import Asking
from tests.support.machine.cancelling import Cancelling
from tests.support.machine.leaving import Leaving
from tests.support.machine.sharing import Sharing


class Machine(Asking, Leaving, Cancelling, Sharing):
    """See the package. `worlds` is set in a subclass."""
