"""From a startup message to what its client wants: PostgreSQL's own reading, and what it can only refuse."""

from __future__ import annotations

import pytest

from poolproxy.errors import InvalidStartupOptions, ReplicationRefused, StartupParameterRefused
from poolproxy.session.parameters import EMPTY, parameter_set
from poolproxy.session.startup_parameters import application_name, wanted_parameters


def wanted(**startup: str) -> dict[str, str]:
    return wanted_parameters({"user": "a", "database": "b", **startup}).values


def test_the_address_is_no_parameter() -> None:
    assert wanted_parameters({"user": "a", "database": "b", "_pq_.x": "1"}) is EMPTY


def test_names_are_kept_small_and_values_quoted() -> None:
    assert wanted(DateStyle="ISO, DMY", TimeZone="it's") == {"datestyle": "'ISO, DMY'", "timezone": "'it''s'"}
    assert wanted_parameters({"TimeZone": "UTC"}) is parameter_set({"timezone": "'UTC'"})
    assert wanted(search_path='"$user", public') == {"search_path": "'$user', 'public'"}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("", {}),
        ("  ", {}),
        ("-c work_mem=9MB", {"work_mem": "'9MB'"}),
        ("-cwork_mem=9MB", {"work_mem": "'9MB'"}),
        ("--work_mem=9MB", {"work_mem": "'9MB'"}),
        ("--work-mem=9-MB", {"work_mem": "'9-MB'"}),
        ("-c a.b=x -c c.d=y", {"a.b": "'x'", "c.d": "'y'"}),
        ("-c a.b=x\t\n-c a.b=y", {"a.b": "'y'"}),
        ("-c a.b=x\\ y", {"a.b": "'x y'"}),
        ("-c a.b=x\\\\y", {"a.b": " E'x\\\\y'"}),
        ("-c a.b=c=d", {"a.b": "'c=d'"}),
        ("-c a.b=", {"a.b": "''"}),
    ],
)
def test_options_are_read(options: str, found: dict[str, str]) -> None:
    assert wanted(options=options) == found


def test_a_parameter_outranks_the_same_one_in_options() -> None:
    assert wanted(options="-c work_mem=1MB", work_mem="2MB") == {"work_mem": "'2MB'"}
    assert wanted(work_mem="2MB", options="-c work_mem=1MB") == {"work_mem": "'2MB'"}


@pytest.mark.parametrize(
    "options", ["work_mem=1", "-c work_mem", "-c =1", "--work_mem", "--=1", "-c a.b=x y"]
)
def test_options_of_another_form_are_refused(options: str) -> None:
    with pytest.raises(InvalidStartupOptions):
        wanted(options=options)


@pytest.mark.parametrize("options", ["-e", "-S 8192", "-fh", "-c", "-"])
def test_switches_are_refused_by_name(options: str) -> None:
    with pytest.raises(StartupParameterRefused, match=options.split()[0]):
        wanted(options=options)


@pytest.mark.parametrize(
    "name",
    ["ignore_system_indexes", "jit_debugging_support", "jit_profiling_support", "log_connections",
     "post_auth_delay",
     "log_disconnections", "local_preload_libraries", "session_preload_libraries",
     "Session_Preload_Libraries",
     "role", "session_authorization", "exit_on_error", "idle_session_timeout",
     "a b", "a;b", "a'b", 'a"b', "a.", ".a", "", "a..b", "1a", "a=b"],
)  # fmt: skip
def test_what_cannot_be_set_on_a_shared_server_is_refused(name: str) -> None:
    with pytest.raises(StartupParameterRefused):
        wanted_parameters({"user": "a", name: "1"})


def test_what_is_refused_is_refused_in_options_as_well() -> None:
    with pytest.raises(StartupParameterRefused, match="Role"):
        wanted(options="-c Role=a")


@pytest.mark.parametrize("value", ["true", "TRUE", "on", "yes", "1", "database", "t"])
def test_replication_is_refused(value: str) -> None:
    with pytest.raises(ReplicationRefused):
        wanted(replication=value)


@pytest.mark.parametrize("value", ["false", "OFF", "no", "0", "f", "n", ""])
def test_no_replication_is_an_ordinary_connection(value: str) -> None:
    assert wanted(replication=value) == {}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("psql", "psql"),
        ("é\n", "\\xc3\\xa9\\x0a"),
        ("a" * 70, "a" * 63),
        ("a" * 62 + "é", "a" * 62 + "\\"),
        ("\udcff", "\\xff"),
        ("~ !", "~ !"),
        ("\x7f", "\\x7f"),
    ],
)
def test_an_application_name_is_kept_as_postgresql_keeps_it(value: str, kept: str) -> None:
    assert application_name(value) == kept
