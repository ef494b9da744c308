"""What gets compiled, by the rule of setup.py: every .pyx or .py with a .pxd beside it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "poolproxy"


def compiled_sources() -> list[Path]:
    """Source files relative to the package; never empty."""
    typed = (path.with_suffix(".py") for path in PACKAGE.rglob("*.pxd"))
    sources = [*PACKAGE.rglob("*.pyx"), *(path for path in typed if path.exists())]
    assert sources
    return [path.relative_to(PACKAGE) for path in sources]
