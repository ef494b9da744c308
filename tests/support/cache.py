"""What tests fetch or build once and keep: `.cache` of the checkout, or POOLPROXY_CACHE_DIR."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def cache_directory() -> Path:
    """The folder itself."""
    directory = Path(os.environ.get("POOLPROXY_CACHE_DIR") or ROOT / ".cache")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache that `make` fills, by one worker while others wait; one that was broken off
    leaves nothing behind.
    """
    folder = cache_directory() / name
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = folder.with_name(f"{name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(folder)
    return folder
