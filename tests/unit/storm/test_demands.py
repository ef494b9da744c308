"""What cannot be had is said at once, with its reason, and nothing is started for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.storm import demands
from benchmarks.storm.__main__ import main, parser
from benchmarks.storm.scenarios import STORMS
from benchmarks.storm.scenarios.load import Load

MINE = "mine=postgres://me:secret@db.example/shop"
ENCRYPTED = "other=postgres://me:secret@db.example/shop?sslmode=require"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What main() says, in its last line, before it starts anything."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.splitlines()[-1].partition("error: ")[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rampp"], "there is no scenario rampp: it is one of ramp, spike, diurnal"),
        (["--dsn", "mine"], "argument --dsn: 'mine' is not name=postgres://user:password@host:port/database"),
        (["--dsn", "=postgres://me@db/shop"], "argument --dsn: '=postgres://me@db/shop' is not name="),
        (["--dsn", "mine=http://me@db/shop"], "--dsn mine: a connection URL begins with postgres://"),
        (["--dsn", "mine=postgres://db/shop"], "--dsn mine: the connection URL has no user"),
        (
            ["--dsn", MINE, "--dsn", MINE],
            "there are 2 endpoints named mine: give each --dsn a name of its own",
        ),
        (
            ["--dsn", MINE.replace("mine", "direct")],
            "direct is the name of a local target: give the --dsn anot",
        ),
        (["retry", "--dsn", MINE], "retry restarts the database, which is not ours with --dsn"),
        (["vanish", "--dsn", MINE], "vanish cuts the link to the database, which is not ours with --dsn"),
        (["thaw", "--dsn", MINE], "thaw cuts the link to the database, which is not ours with --dsn"),
        (["tls", "--dsn", MINE], "tls: say in the URL of mine how TLS is meant: ?sslmode=require"),
        (["tls", "--dsn", f"{MINE}?sslmode=prefer"], "tls: say in the URL of mine how TLS is meant"),
        (["tls", "--dsn", ENCRYPTED, "--dsn", MINE], "tls: say in the URL of mine how TLS is meant"),
        (
            ["tls", "--dsn", f"{MINE}?sslmode=verify-full"],
            "--dsn mine: sslmode=verify-full needs sslrootcert",
        ),
        (["tls", "--environments", "1001"], "tls: at most 1,000 environments, not 1,001"),
        (["ramp", "--trials", "0"], "argument --trials: 0 is not a number from 1 on"),
        (["ramp", "--trials", "-1"], "argument --trials: -1 is not a number from 1 on"),
        (["ramp", "--environments", "0"], "argument --environments: 0 is not a number from 1 on"),
        (["ramp", "--environments", "x"], "argument --environments: x is not a number from 1 on"),
        (["ramp", "--statement-cache", "-1"], "argument --statement-cache: -1 is not a number from 0 on"),
        (["load", "--rate", "0"], "argument --rate: 0 is not a number above 0"),
        (["load", "--rate", "inf"], "argument --rate: inf is not a number above 0"),
        (["load", "--seconds", "soon"], "argument --seconds: soon is not a number above 0"),
        (["ramp", "--environments", "1001"], "ramp: at most 1,000 environments, not 1,001"),
        (["freeze", "--environments", "9981"], "freeze: at most 9,980 environments, not"),
        (["load", "--environments", "901"], "load: at most 900 environments, not 901"),
        (["load", "--event", "nothing"], "--event nothing is neither of upload, read, order"),
        (["load", "--setup", "nowhere.sql"], "--setup: there is no file nowhere.sql"),
        (["kill", "--environments", "201"], "kill: at most 200 environments, not 201"),
        (
            ["ramp", "--isolation", "process"],
            "ramp: at most 200 environments can be processes, not 1,000: ask for fewer, --environments 200",
        ),
        (["ramp", "--handler", "nowhere"], "--handler: 'nowhere' is neither of"),
        (["ramp", "--handler", "nowhere.py:handler"], "--handler: there is no file nowhere.py"),
        (["ramp", "--handler", "no_such_module:handler"], "--handler: there is no module no_such_module"),
        (["load", "--trace", "nowhere"], "--trace: [Errno 2] No such file or directory: 'nowhere'"),
        (
            ["ramp", "--json", "nowhere/run.json"],
            "nowhere/run.json cannot be written: there is no such folder",
        ),
        (["ramp", "--html", "."], ". cannot be written: there is no such folder, or it is one"),
    ],
)
def test_a_command_line_that_cannot_be(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demands, "pgbouncer_program", lambda: "/usr/sbin/pgbouncer")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda program: f"/bin/{program}")
    heard = refused(capsys, *arguments)
    assert heard.startswith(said)
    assert "secret" not in heard


def test_a_trace_that_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.write_text("1.0\nlater\n", "utf-8")
    said = refused(capsys, "load", "--target", "poolproxy", "--trace", str(trace))
    assert said == f"--trace: {trace}:2: 'later' is neither a time nor time,count"


def test_without_pgbouncer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demands, "pgbouncer_program", lambda: None)
    assert refused(capsys, "ramp") == (
        "pgbouncer is not installed: install it, or name the other targets,"
        " --target direct --target poolproxy"
    )
    demands.check(parser().parse_args(["ramp", "--target", "poolproxy"]))
    demands.check(parser().parse_args(["ramp", "--dsn", MINE]))


def test_without_root_nothing_can_vanish(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said = refused(capsys, "ramp", "vanish", "--target", "poolproxy")
    assert said.startswith("vanish: a network namespace needs root: run it as root, or leave out")


@pytest.mark.parametrize("name", ["vanish", "thaw"])
def test_tasks_cannot_be_cut_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda program: f"/bin/{program}")
    said = refused(capsys, name, "--target", "poolproxy", "--isolation", "task")
    assert said == f"{name}: the link of processes can be cut, that of tasks cannot"


def test_results_to_compare_with_that_are_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("{}", "utf-8")
    for path in (old, tmp_path / "nowhere.json"):
        assert main(["ramp", "--target", "poolproxy", "--compare", str(path)]) == 2
        assert capsys.readouterr().err.startswith("storm: ")


def options(*arguments: str) -> list[str]:
    return demands.scenarios(parser().parse_args(arguments))


def test_a_load_of_one_s_own_has_as_many_processes_as_there_can_be() -> None:
    for arguments, environments in (
        (["load"], 900),
        (["load", "--isolation", "process"], 200),
        (["load", "--isolation", "process", "--environments", "7"], 7),
    ):
        asked = parser().parse_args([*arguments, "--target", "poolproxy"])
        demands.check(asked)
        assert demands.made(Load, asked).environments == environments


def test_what_is_named_twice_runs_once() -> None:
    assert options("spike", "ramp", "spike") == ["spike", "ramp"]
    asked = parser().parse_args(["--target", "poolproxy", "--target", "direct", "--target", "poolproxy"])
    assert demands.local_targets(asked) == ["poolproxy", "direct"]


def test_all_are_those_that_can_be() -> None:
    everything = [scenario.name for scenario in STORMS]
    assert options() == everything
    elsewhere = [name for name in everything if name not in ("thaw", "vanish", "retry")]
    assert options("--dsn", ENCRYPTED) == elsewhere
    assert options("--dsn", ENCRYPTED, "--dsn", MINE) == [name for name in elsewhere if name != "tls"]
    assert options("tls", "--dsn", MINE) == ["tls"]  # refused then, not left out


def test_with_a_dsn_alone_nothing_local_is_started() -> None:
    assert demands.local_targets(parser().parse_args(["--dsn", MINE])) == []
    assert demands.local_targets(parser().parse_args(["--dsn", MINE, "--target", "direct"])) == ["direct"]
    assert demands.local_targets(parser().parse_args([])) == ["direct", "pgbouncer", "poolproxy"]
