"""One section of RESULTS.md, written anew without a touch on the others: several benches share the file.

A section begins with `## TITLE` and ends where the next one begins. Must not know what is in it.
"""

from __future__ import annotations

STORMS = "Storms"


def section(text: str, title: str) -> str:
    """The body of a section of `text`; empty where it has none."""
    _, found, behind = f"\n{text}".partition(f"\n## {title}\n")
    return behind.partition("\n## ")[0].strip("\n") if found else ""


def titles(text: str) -> list[str]:
    """Of its sections, in their order."""
    return [line[3:] for line in text.splitlines() if line.startswith("## ")]


def replaced(text: str, title: str, body: str) -> str:
    """`text` with this body in that section, which is put at the end where there was none."""
    before, found, behind = f"\n{text}".partition(f"\n## {title}\n")
    _, more, others = behind.partition("\n## ")
    rest = f"\n## {others}" if found and more else ""
    return f"{before.strip(chr(10))}\n\n## {title}\n\n{body.strip(chr(10))}\n{rest}"
