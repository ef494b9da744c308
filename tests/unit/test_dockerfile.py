"""The Dockerfile against the product, without building it: what it names must exist and fit."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import typer.main

from poolproxy.cli import cli, healthcheck
from poolproxy.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: The commands of `poolproxy`.
COMMANDS = set(typer.main.get_command(cli).commands)  # type: ignore[attr-defined]


class Dockerfile:
    """Its instructions in order, continuation lines joined: (instruction, the rest of its line)."""

    def __init__(self) -> None:
        text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text()).replace("\\\n", " ")
        lines = (line.strip().partition(" ") for line in text.splitlines() if line.strip())
        self.instructions = [(name, rest.strip()) for name, _, rest in lines]

    def all(self, instruction: str) -> list[str]:
        return [rest for name, rest in self.instructions if name == instruction]

    def one(self, instruction: str) -> str:
        (rest,) = self.all(instruction)
        return rest

    def pairs(self, instruction: str) -> dict[str, str]:
        """What an instruction like ENV sets: name=value, values perhaps in quotes."""
        words = [word for rest in self.all(instruction) for word in shlex.split(rest)]
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    @property
    def program(self) -> PurePosixPath:
        """The entry point's only word; in shell form it would not be process 1 and not get signals."""
        (program,) = json.loads(self.one("ENTRYPOINT"))
        return PurePosixPath(program)


@pytest.fixture(scope="module")
def dockerfile() -> Dockerfile:
    return Dockerfile()


def test_the_entry_point_is_what_the_build_installs(dockerfile: Dockerfile) -> None:
    where = dockerfile.program.parent.parent
    assert dockerfile.program == where / "bin" / dockerfile.program.name
    assert dockerfile.program.name in PROJECT["scripts"]
    build = " ".join(dockerfile.all("RUN"))
    assert f"python3 -m venv {where};" in build
    assert f"{where}/bin/python -m pip install " in build
    assert f"--from=build {where} {where}" in dockerfile.all("COPY")
    (command,) = json.loads(dockerfile.one("CMD"))
    assert command in COMMANDS


def test_the_health_check_ends_before_docker_ends_it(dockerfile: Dockerfile) -> None:
    options, _, command = dockerfile.one("HEALTHCHECK").partition(" CMD ")
    program, *arguments = json.loads(command)
    assert program == str(dockerfile.program)
    assert arguments == [healthcheck.__name__]
    assert healthcheck.__name__ in COMMANDS
    (seconds,) = re.findall(r"--timeout=(\d+)s", options)
    assert int(seconds) > inspect.signature(healthcheck).parameters["timeout"].default


def test_ports_user_and_signal(dockerfile: Dockerfile) -> None:
    ports = {int(port) for port in dockerfile.one("EXPOSE").split()}
    assert ports == {Settings.model_fields[name].default for name in ("listen_port", "http_port")}
    user = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", dockerfile.one("USER"))
    assert user, "by number, and not root"
    accounts = " ".join(dockerfile.all("RUN"))
    assert f"groupadd --gid {user[2]} " in accounts
    assert f"useradd --uid {user[1]} --gid {user[2]} " in accounts
    assert dockerfile.one("STOPSIGNAL") == "SIGTERM"


def test_the_environment_holds_no_settings_and_finds_the_program(dockerfile: Dockerfile) -> None:
    """An image that brings settings would hide the defaults that README and docs tell of."""
    assert dockerfile.pairs("ENV") == {
        "PATH": f"{dockerfile.program.parent}:$PATH",
        "PYTHONDONTWRITEBYTECODE": "1",  # the root file system is read-only
        "PYTHONUNBUFFERED": "1",  # the log must not wait for a buffer to fill
    }


def test_both_stages_start_from_the_argument(dockerfile: Dockerfile) -> None:
    """The interpreter of the virtual environment must be where the first stage found it."""
    ((argument, image),) = dockerfile.pairs("ARG").items()
    assert dockerfile.all("FROM") == [f"${{{argument}}} AS build", f"${{{argument}}}"]
    python = re.fullmatch(r"python:(3\.\d+)-slim", image)
    assert python
    assert f"Programming Language :: Python :: {python[1]}" in PROJECT["classifiers"]
    for page in ("Dockerfile", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text()
        assert set(re.findall(r"--build-arg (\w+)=", text)) == {argument}, page
    assert f"`{image}`" in (ROOT / "CONTRIBUTING.md").read_text()


def test_labels_say_what_the_package_says(dockerfile: Dockerfile) -> None:
    assert dockerfile.pairs("LABEL") == {
        "org.opencontainers.image.title": PROJECT["name"],
        "org.opencontainers.image.description": PROJECT["description"],
        "org.opencontainers.image.licenses": PROJECT["license"],
    }


def test_only_what_the_build_reads_enters_it() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert all((ROOT / name).exists() for name in allowed)
    assert {"poolproxy", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"} <= allowed
