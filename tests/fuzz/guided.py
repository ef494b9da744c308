"""Runs a target under atheris, on the `.py` sources: `python -m tests.fuzz.guided TARGET SECONDS`.

atheris never returns, so each target has a process of its own. What it finds worth keeping goes into a
folder that is not in the repository; what breaks the target goes to the target's corpus.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found, unused-ignore]

from tests.support import interpreted

#: What atheris finds worth keeping, for the next run.
FOUND = Path(__file__).resolve().parent.parent.parent / ".cache" / "fuzz"

#: Seconds for one input, and megabytes for all: there is no more than this between good and broken.
TIMEOUT = 20
MEMORY = 1024


def main(name: str, seconds: str) -> None:
    interpreted.install()
    with atheris.instrument_imports(include=["poolproxy"], enable_loader_override=False):
        from tests.fuzz.blind import quiet
        from tests.fuzz.targets import TARGETS
    quiet()
    target = TARGETS[name]
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    target.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".dict") as words:
        for token in target.tokens:
            words.write('"{}"\n'.format("".join(f"\\x{byte:02x}" for byte in token)))
        words.flush()
        arguments = [
            sys.argv[0],
            str(found),
            str(target.folder),
            f"-max_total_time={seconds}",
            f"-timeout={TIMEOUT}",
            f"-rss_limit_mb={MEMORY}",
            "-max_len=4096",
            "-print_final_stats=1",
            "-verbosity=1",
            f"-artifact_prefix={target.folder}/",
            *([f"-dict={words.name}"] if target.tokens else []),
        ]
        atheris.Setup(arguments, target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
