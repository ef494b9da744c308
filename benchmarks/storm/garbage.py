"""The generator's own garbage collector, out of the way of a trial: a full collection stops every client for
tens of milliseconds, and what it looks at was there before."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

COLLECT_EVERY = 100_000  #: objects more than there were: some hundred environments' worth


@contextlib.contextmanager
def rarely_collected() -> Iterator[None]:
    """What exists when the block begins is left alone in it, and what comes is collected rarely. Not to be
    nested."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
