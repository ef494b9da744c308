"""Colours that can be read and told apart, by everybody, in light and in dark: computed, not believed."""

from __future__ import annotations

import math
from itertools import combinations

import pytest

from benchmarks.storm.report import palette
from benchmarks.storm.report.palette import DARK_ROLES, LIGHT_ROLES, SLOTS

Vector = tuple[float, float, float]

#: Machado, Oliveira and Fernandes (2009), severity 1.0, in linear RGB.
VISIONS: dict[str, tuple[Vector, Vector, Vector]] = {
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
SCHEMES = {"light": LIGHT_ROLES, "dark": DARK_ROLES}
#: In OKLab, where 0.02 is about what can just be seen side by side: thin lines want several times that.
APART = 0.09


def linear(colour: str) -> Vector:
    def channel(at: int) -> float:
        value = int(colour[at : at + 2], 16) / 255
        return float(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)

    return channel(1), channel(3), channel(5)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio."""
    light, dark = sorted(
        (
            sum(f * c for f, c in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))
            for colour in (one, other)
        ),
        reverse=True,
    )
    return (light + 0.05) / (dark + 0.05)


def oklab(colour: Vector) -> Vector:
    r, g, b = (min(1.0, max(0.0, value)) for value in colour)
    l_, m, s = (
        (x * r + y * g + z * b) ** (1 / 3)
        for x, y, z in (
            (0.4122214708, 0.5363325363, 0.0514459929),
            (0.2119034982, 0.6806995451, 0.1073969566),
            (0.0883024619, 0.2817188376, 0.6299787005),
        )
    )
    return (
        0.2104542553 * l_ + 0.7936177850 * m - 0.0040720468 * s,
        1.9779984951 * l_ - 2.4285922050 * m + 0.4505937099 * s,
        0.0259040371 * l_ + 0.7827717662 * m - 0.8086757660 * s,
    )


def seen(colour: str, vision: str) -> Vector:
    rows = VISIONS[vision]
    r, g, b = (sum(f * c for f, c in zip(row, linear(colour), strict=True)) for row in rows)
    return oklab((r, g, b))


def shade(slot: int, scheme: str) -> str:
    return SLOTS[slot].light if scheme == "light" else SLOTS[slot].dark


def test_the_measures_are_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert oklab(linear("#ffffff"))[0] == pytest.approx(1, abs=1e-3)
    red, green = (seen(colour, "deuteranopia") for colour in ("#c05050", "#708a3c"))
    assert math.dist(red, green) < math.dist(oklab(linear("#c05050")), oklab(linear("#708a3c"))) / 2


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("slot", range(len(SLOTS)))
def test_a_target_can_be_read_on_both_backgrounds(scheme: str, slot: int) -> None:
    for ground in ("bg", "card"):
        assert contrast(shade(slot, scheme), SCHEMES[scheme][ground]) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("role", ["ink", "soft", "good", "bad"])
def test_text_can_be_read(scheme: str, role: str) -> None:
    for ground in ("bg", "card"):
        assert contrast(SCHEMES[scheme][role], SCHEMES[scheme][ground]) >= 4.5


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_targets_differ_for_every_vision(scheme: str, vision: str) -> None:
    for one, other in combinations(range(len(SLOTS)), 2):
        distance = math.dist(seen(shade(one, scheme), vision), seen(shade(other, scheme), vision))
        if SLOTS[one].dashes == SLOTS[other].dashes:
            assert distance >= APART, f"{shade(one, scheme)} and {shade(other, scheme)}"


def test_a_target_keeps_its_colour_whoever_else_is_there() -> None:
    assert palette.slots(["direct", "rds", "poolproxy"]) == {"direct": 2, "rds": 3, "poolproxy": 0}
    assert palette.slots(["poolproxy"]) == {"poolproxy": 0}
    assert palette.slots(["a", "b", "c", "d"]) == {"a": 3, "b": 4, "c": 5, "d": 3}


def test_css_has_both_schemes_and_a_class_for_each() -> None:
    css = palette.css()
    light, _, dark = css.partition("@media(prefers-color-scheme:dark)")
    for at, colour in enumerate(SLOTS):
        assert f"--c{at}:{colour.light};" in light
        assert f"--c{at}:{colour.dark};" in dark
        assert f".t{at}{{--c:var(--c{at})}}" in css
