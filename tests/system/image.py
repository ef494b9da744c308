"""Building the container image where no image registry is reachable, and running it as a container runs.

The base is a Debian made with debootstrap; buildah builds the Dockerfile on it; the result runs in a chroot
with its own mount and process namespaces: read-only root, the image's user and environment, its entry point
as process 1. The network is the machine's own. All of it needs root. Nothing here knows what the image does.
"""

from __future__ import annotations

import ast
import configparser
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.waiting import eventually
from tools.cache import cache_directory

ROOT = Path(__file__).resolve().parent.parent.parent
SUITE = "bookworm"  #: the oldest Debian whose Python is new enough
BASE = "localhost/base"
TAG = "localhost/poolproxy"

#: Makes the namespaces look like a container: a read-only root with /proc and /dev, then the entry point.
ENTER = """
set -eu
root=$1; user=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,ro,bind "$root"
exec chroot --userspec="$user" "$root" "$@"
"""


def run(*command: str | Path, **options: Any) -> str:
    """Run to the end and return what it printed; AssertionError with the end of the output when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, f"{command[0]} exited {done.returncode}:\n{done.stdout[-4000:]}"
    return done.stdout


def debian_base(scratch: Path) -> Path:
    """A tar file of a minimal Debian, from the cache or from debootstrap (half a minute)."""
    archive = cache_directory() / f"debian-{SUITE}.tar"
    if not archive.exists():
        root = scratch / "debian"
        run("debootstrap", "--variant=minbase", SUITE, root)
        unfinished = archive.with_suffix(f".{os.getpid()}")
        run("tar", "--create", "--file", unfinished, "--one-file-system", "--directory", root, ".")
        unfinished.rename(archive)
        run("rm", "-rf", "--one-file-system", root)
    return archive


def pip_volumes(scratch: Path) -> list[str]:
    """Arguments that give this machine's pip configuration to the build.

    The configuration becomes one file at /etc/pip.conf; the certificates and local folders that it names are
    mounted with it. Volumes are there while a RUN step runs; their contents are no part of the image.
    """
    settings = configparser.RawConfigParser()
    mounts: dict[str, str] = {}
    for line in run(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, quoted = line.partition("=")
        section, _, key = name.rpartition(".")
        value = ast.literal_eval(quoted)
        section = "global" if section.startswith(":") else section
        if key in ("cert", "client-cert"):
            inside = f"/run/pip/{key}.pem"
            mounts[value] = inside
            value = inside
        else:
            paths = (word.removeprefix("file://").removesuffix("/simple") for word in value.split())
            mounts |= {path: path for path in paths if path.startswith("/") and Path(path).exists()}
        if not settings.has_section(section):
            settings.add_section(section)
        settings.set(section, key, value.replace("\n", "\n    "))
    file = scratch / "pip.conf"
    with file.open("w") as stream:
        settings.write(stream)
    mounts[str(file)] = "/etc/pip.conf"
    return [f"--volume={outside}:{inside}:ro" for outside, inside in mounts.items()]


class Buildah:
    """buildah with a storage of its own under `scratch`, so that nothing else on the machine is touched."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._storage = [f"--root={scratch}/storage", f"--runroot={scratch}/run", "--storage-driver=vfs"]

    def __call__(self, *arguments: str | Path) -> str:
        return run("buildah", *self._storage, *arguments)

    def build(self) -> Image:
        """Build the Dockerfile of the checkout on a Debian base, and mount the result."""
        base = self("from", "scratch").strip()
        mounted = self("mount", base).strip()
        run("tar", "--extract", "--file", debian_base(self._scratch), "--directory", mounted)
        self("umount", base)
        self("commit", "--quiet", "--rm", base, BASE)
        self(
            *("bud", "--isolation=chroot", "--format=docker", "--pull-never"),
            *(f"--build-arg=BASE={BASE}", *pip_volumes(self._scratch), f"--tag={TAG}", ROOT),
        )
        config = json.loads(self("inspect", "--type=image", TAG))["Docker"]["config"]
        container = self("from", "--pull-never", TAG).strip()
        return Image(root=Path(self("mount", container).strip()), config=config)


@dataclass(frozen=True)
class Image:
    """A built image: its files under `root`, and its configuration as Docker stores it."""

    root: Path
    config: Mapping[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        return dict(entry.split("=", 1) for entry in self.config["Env"])

    @property
    def command(self) -> list[str]:
        return [*self.config["Entrypoint"], *self.config["Cmd"]]

    @contextmanager
    def start(
        self, log: Path, settings: Mapping[str, str], command: Sequence[str] | None = None
    ) -> Iterator[Container]:
        """Run `command` (None: the image's own) with `settings` in its environment, logging to `log`."""
        arguments = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", ENTER, "enter"]
        arguments += [str(self.root), self.config["User"], *(command or self.command)]
        with (
            log.open("wb") as stream,
            subprocess.Popen(
                arguments,
                env={**self.environment, **settings},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                yield Container(self, process, log)
            finally:
                # Process 1 takes all that it started along. Not left to unshare's --kill-child, which the
                # kernel forgets when the entry point becomes another user.
                ended = _children(process.pid)
                for child in ended:
                    os.kill(child, signal.SIGKILL)
                process.kill()
                process.wait()
                eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in ended), "its end")


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


@dataclass(frozen=True)
class Container:
    """A running image."""

    image: Image
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The entry point's process id, as the machine counts."""

        def first_child() -> int:
            assert self.process.poll() is None, self.log.read_text()
            return next(iter(_children(self.process.pid)), 0)

        return eventually(first_child, "the entry point has started")

    def event(self, name: str, timeout: float = 30.0) -> dict[str, Any]:
        """The first line of the JSON log with this event, waited for."""

        def find() -> dict[str, Any] | None:
            assert self.process.poll() is None, self.log.read_text()
            for line in self.log.read_text().splitlines():
                if line.startswith("{") and (entry := json.loads(line))["event"] == name:
                    return dict(entry)
            return None

        found = eventually(find, f"the event {name!r} in the log", timeout)
        assert found is not None
        return found

    def status(self, field: str) -> list[str]:
        """A line of the entry point's /proc/PID/status, split."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.split()[1:] for line in lines if line.startswith(field + ":"))

    def execute(self, *command: str, settings: Mapping[str, str]) -> int:
        """Run a command inside, as `docker exec` and health checks do; returns its exit status."""
        user, group = self.image.config["User"].split(":")
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--root", "--wd"]
        inside += [f"--setuid={user}", f"--setgid={group}", "--", *command]
        return subprocess.run(
            inside, env={**self.image.environment, **settings}, stdin=subprocess.DEVNULL, check=False
        ).returncode
