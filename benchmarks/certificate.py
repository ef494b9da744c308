"""A certificate for a run, made by the `openssl` program: P-256, self-signed, gone with the run's directory.

Every target shows the same one. Clients do not check whose it is, as libpq's `sslmode=require` does not.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from poolproxy.demo.postgres import give_away

DAYS = "7"


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files: the certificate, and its key, which belongs to the account that servers run under."""

    file: Path
    key: Path


#: What is published in the place of a run's own.
SHOWN = Certificate(Path("tls.crt"), Path("tls.key"))
#: OpenSSL's configuration for who gives no session tickets and has no setting for that: PgBouncer. PostgreSQL
#: gives none, poolproxy neither, and no client here would use one.
NO_TICKETS = """\
openssl_conf = openssl
[openssl]
ssl_conf = ssl
[ssl]
system_default = defaults
[defaults]
NumTickets = 0
"""


def self_signed(directory: Path) -> Certificate:
    """Make it there. Raises RuntimeError where `openssl` is missing or refuses."""
    program = shutil.which("openssl")
    if program is None:
        raise RuntimeError("openssl is not installed: it makes the certificate of a TLS run")
    made = Certificate(directory / "tls.crt", directory / "tls.key")
    command = [program, "req", "-x509", "-nodes", "-days", DAYS, "-subj", "/CN=localhost"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(made.key), "-out", str(made.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl made no certificate: {done.stderr.strip()[-500:]}")
    made.key.chmod(0o600)  # PostgreSQL takes no key that others may read
    for path in (made.file, made.key):
        give_away(path)
    return made
