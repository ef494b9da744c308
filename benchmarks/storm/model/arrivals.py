"""When clients mean to send: Lambda times in seconds from 0, in order, the same for dice of the same seed.

Open loop: nobody waits for an answer before the next one. Must not know what is sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from random import Random

DAY = 86_400.0

NIGHT = 1 / 3600
"""Uploads per second at midnight: one an hour."""

NOON = 1000 / 60
"""And at noon: a thousand a minute."""


def poisson(rate: float, seconds: float, random: Random) -> Iterator[float]:
    """`rate` per second on average, each independent of the others. Raises ValueError unless both are
    positive."""
    _positive(rate=rate, seconds=seconds)
    at = random.expovariate(rate)
    while at < seconds:
        yield at
        at += random.expovariate(rate)


def ramp(count: int, seconds: float) -> Iterator[float]:
    """`count` of them at even distances, the first at 0."""
    _positive(count=count, seconds=seconds)
    for number in range(count):
        yield number * seconds / count


def burst(count: int, seconds: float, random: Random) -> Iterator[float]:
    """`count` of them anywhere in `seconds`, 0 included: all at once."""
    _positive(count=count)
    yield from sorted(random.uniform(0.0, seconds) for _ in range(count))


def trace(path: Path | str) -> Iterator[float]:
    """What a file says: a line is a time, or `time,count` for so many at once; empty lines and those that
    begin with # are passed over. Raises ValueError, with the line's number, for anything else, and for times
    that run backwards."""
    last = 0.0
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            at, count = _entry(text, f"{path}:{number}")
            if at < last:
                raise ValueError(f"{path}:{number}: {at} comes after {last}")
            last = at
            for _ in range(count):
                yield at


def _entry(text: str, place: str) -> tuple[float, int]:
    time, _, count = text.partition(",")
    try:
        entry = float(time), int(count or 1)
    except ValueError:
        raise ValueError(f"{place}: {text!r} is neither a time nor time,count") from None
    if not 0 <= entry[0] < math.inf or entry[1] < 0:
        raise ValueError(f"{place}: time and count are at least 0")
    return entry


def diurnal_rate(at: float, night: float = NIGHT, noon: float = NOON, day: float = DAY) -> float:
    """Per second, `at` seconds after midnight. Between night and noon it is a cosine of the logarithm: the
    rate doubles many times in a morning, as people wake up."""
    height = (1 - math.cos(2 * math.pi * at / day)) / 2
    return night * math.pow(noon / night, height)


def diurnal(
    seconds: float,
    random: Random,
    *,
    start: float = 0.0,
    night: float = NIGHT,
    noon: float = NOON,
    day: float = DAY,
) -> Iterator[float]:
    """S3 uploads over a day, from `start` seconds after midnight on; times count from 0 all the same.
    Poisson with `diurnal_rate`, by thinning. Raises ValueError unless 0 < night <= noon."""
    _positive(seconds=seconds, night=night, noon=noon, day=day)
    if night > noon:
        raise ValueError(f"night ({night}) is at most noon ({noon})")
    at = random.expovariate(noon)
    while at < seconds:
        if random.random() * noon < diurnal_rate(start + at, night, noon, day):
            yield at
        at += random.expovariate(noon)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} is more than 0, not {value}")
