"""HTML and SVG as text, escaped once and nowhere else. Must not know what a page looks like."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


#: Elements of HTML that have no end.
_VOID = {"br", "hr", "meta", "link", "img"}


def tag(name: str, /, *children: str | None, **attributes: str | float | None) -> Markup:
    """An element. Children that are no Markup are escaped; attributes always.

    `cls` is `class`, `_` in a name is `-`; an attribute that is None is left out, a float has two digits.
    """
    shown = "".join(
        f' {_attribute(key)}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{join(*children)}</{name}>")


def join(*children: str | None) -> Markup:
    """Several in a row."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(child, quote=False)
            for child in children
            if child is not None
        )
    )


def _attribute(name: str) -> str:
    return "class" if name == "cls" else name.strip("_").replace("_", "-")


def _text(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
