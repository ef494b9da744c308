"""The quick form of `make fuzz`, on whichever build is loaded; and that a fuzzer would notice."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz import blind, target
from tests.fuzz.target import Broken, Target
from tests.fuzz.targets import TARGETS
from tests.support.proxy import ROOT

#: For each target. A seed of its own each day would find more, and fail for nobody else; `make fuzz` does
#: that.
INPUTS = 150


@pytest.mark.parametrize("one", TARGETS.values(), ids=list(TARGETS))
def test_some_inputs(one: Target) -> None:
    outcome = blind.fuzz(one, 20261128, blind.inputs(INPUTS))
    assert outcome.problem is None, f"{outcome.crash}: {outcome.problem!r}"
    assert outcome.inputs == INPUTS


def test_the_command(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "startup",
        "rules",
        "--blind",
        "--seconds",
        "0.2",
        "--seed",
        "1",
    ]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 of 2 targets broken" in ran.stdout
    assert "seed 1" in ran.stdout


class TestItWouldNotice:
    @pytest.fixture(autouse=True)
    def _elsewhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(target, "CORPUS", tmp_path)

    def test_what_raises_is_kept_and_replayed(self) -> None:
        def run(data: bytes) -> None:
            assert b"\xff" not in data

        broken = Target("broken", run)
        outcome = blind.fuzz(broken, 1, blind.inputs(10_000))
        assert isinstance(outcome.problem, AssertionError)
        assert outcome.crash is not None
        kept = broken.corpus()[outcome.crash.name]
        assert b"\xff" in kept
        with pytest.raises(AssertionError):
            broken.measured(kept)

    def test_what_never_ends(self) -> None:
        """By the lines that it runs, not by the clock."""
        source = "def spin():\n    while True:\n        pass\n"
        found: dict[str, object] = {}
        exec(compile(source, "/poolproxy/spin.py", "exec"), found)
        began = time.monotonic()
        with pytest.raises(Broken, match="lines run, in spin"):
            Target("spin", lambda data: found["spin"]()).measured(b"x")  # type: ignore[operator]
        assert time.monotonic() - began < 30

    def test_what_takes_memory_by_a_claim(self) -> None:
        with pytest.raises(Broken, match="bytes of memory"):
            Target("claim", lambda data: bytearray(int.from_bytes(data, "big"))).measured(b"\1\0\0\0")  # type: ignore[arg-type, return-value]

    def test_what_is_fine(self) -> None:
        outcome = blind.fuzz(Target("fine", lambda data: None), 1, blind.inputs(50))
        assert (outcome.inputs, outcome.problem) == (50, None)
