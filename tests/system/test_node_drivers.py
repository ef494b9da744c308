"""The Node drivers `pg` and `postgres`, unchanged, against the proxy in both pool modes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.stage import Stage

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SOURCES = Path(__file__).resolve().parent / "node"


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts and the installed drivers."""
    folder = tmp_path_factory.mktemp("node")
    for source in SOURCES.iterdir():
        shutil.copy(source, folder)
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    subprocess.run(["npm", "install", *options], cwd=folder, check=True, capture_output=True, timeout=150)
    return folder


@pytest.mark.parametrize("mode", ["transaction", "session"])
@pytest.mark.parametrize("script", ["pg.js", "postgres.js"])
def test_driver(drivers: Path, stage: Stage, script: str, mode: str) -> None:
    stage.expect_log("28P01|login")
    proxy = stage.proxy(pool_mode=mode, pool_size=20)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        ["node", script],
        cwd=drivers,
        env={**kept, "DATABASE_URL": proxy.url()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok notifications" in done.stdout
