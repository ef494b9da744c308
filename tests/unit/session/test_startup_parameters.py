"""From a startup message to what its client wants: PostgreSQL's own reading, and what it can only refuse."""

from __future__ import annotations

import pytest

from poolproxy.errors import (
    InvalidParameterName,
    InvalidStartupOptions,
    PoolproxyError,
    ReplicationRefused,
    StartupOptionWithoutValue,
    UnknownParameter,
)
from poolproxy.session.parameters import EMPTY, parameter_set
from poolproxy.session.startup_parameters import application_name, wanted_parameters


def wanted(**startup: str) -> dict[str, str]:
    return wanted_parameters({"user": "a", "database": "b", **startup}).parameters.values


def test_the_address_is_no_parameter() -> None:
    assert wanted_parameters({"user": "a", "database": "b", "_pq_.x": "1"}).parameters is EMPTY


def test_names_are_kept_small_and_values_quoted() -> None:
    assert wanted(DateStyle="ISO, DMY", TimeZone="it's") == {"datestyle": "'ISO, DMY'", "timezone": "'it''s'"}
    assert wanted_parameters({"TimeZone": "UTC"}).parameters is parameter_set({"timezone": "'UTC'"})
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
    ("options", "found"),
    [
        ("-e", {"datestyle": "'euro'"}),
        ("-S 8192", {"work_mem": "'8192'"}),
        ("-S8192", {"work_mem": "'8192'"}),
        ("-eS 8192", {"datestyle": "'euro'", "work_mem": "'8192'"}),
        ("-fh -f s -fi", {f"enable_{name}": "'false'" for name in ("hashjoin", "seqscan", "indexscan")}),
        ("-fo -fb -ft -fn -fm", {f"enable_{name}": "'false'" for name in (
            "indexonlyscan", "bitmapscan", "tidscan", "nestloop", "mergejoin")}),
        ("-tpa -tplanner -te", {f"log_{name}_stats": "'true'" for name in ("parser", "planner", "executor")}),
        ("-s", {"log_statement_stats": "'true'"}),
        ("-O", {"allow_system_table_mods": "'true'"}),
        ("-B 100", {"shared_buffers": "'100'"}),
        ("-N10 -p 5", {"max_connections": "'10'", "port": "'5'"}),
        ("-k /tmp", {"unix_socket_directories": "'/tmp'"}),
        ("-h x -i", {"listen_addresses": "'*'"}),
        ("-F -l", {"fsync": "'false'", "ssl": "'true'"}),
        ("-d 0", {"log_min_messages": "'notice'"}),
        ("-d x", {"log_min_messages": "'notice'"}),
        # Digits of other scripts, and more of them than int() takes.
        ("-d \u00b2", {"log_min_messages": "'notice'"}),
        ("-d -" + "9" * 5000, {"log_min_messages": "'notice'"}),
        ("-d" + "0" * 5000 + "1", {"log_min_messages": "'debug1'"}),
        ("-d1", {"log_min_messages": "'debug1'"}),
        ("-d 5", {
            "log_min_messages": "'debug5'", "log_statement": "'all'", "debug_print_parse": "'true'",
            "debug_print_plan": "'true'", "debug_print_rewritten": "'true'"}),
        ("-n -b -E -j -T -r x -vy -C work_mem -D x", {}),
        ("--", {}),
        ("-nbEjTe", {"datestyle": "'euro'"}),
        ("-c datestyle=SQL -e", {"datestyle": "'sql, DMY'"}),
        ("-c datestyle=SQL,MDY -c datestyle=german -c datestyle=ymd", {"datestyle": "'german, YMD'"}),
        ("-c datestyle=german -c datestyle=ISO", {"datestyle": "'iso, DMY'"}),
        ("-e -c datestyle=nonsense", {"datestyle": "'nonsense'"}),
    ],
)  # fmt: skip
def test_switches_stand_for_settings(options: str, found: dict[str, str]) -> None:
    assert wanted(options=options) == found


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("work_mem=1", "work_mem=1"), ("-c a.b=x y", "y"), ("-", "-"), ("-z", "-z"), ("-e9", "-e9"),
        ("-fz", "-fz"), ("-f z", "z"), ("-tp", "-tp"), ("-t x", "x"), ("-S", "-S"), ("-c", "-c"),
        ("-f", "-f"), ("-C", "-C"), ("-f \\", ""), ("-t \\", ""),
        ("-- -e", "-e"), ("-V", "-V"), ("-x", "-x"), ("-e x", "x"),
    ],
)  # fmt: skip
def test_what_is_no_switch_is_refused_as_postgresql_refuses_it(options: str, named: str) -> None:
    with pytest.raises(InvalidStartupOptions) as caught:
        wanted(options=options)
    assert caught.value.message == f"invalid command-line argument for server process: {named}"


def test_a_level_of_any_length() -> None:
    assert wanted(options="-d " + "9" * 5000)["log_min_messages"] == "'debug2147483647'"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("-c work_mem", "-c work_mem"),
        ("--work_mem", "--work_mem"),
        ("-cx", "-c x"),
        ("--version", "--version"),
    ],
)
def test_settings_without_a_value(options: str, told: str) -> None:
    with pytest.raises(StartupOptionWithoutValue) as caught:
        wanted(options=options)
    assert caught.value.message == f"{told} requires a value"


@pytest.mark.parametrize(
    "name",
    ["ignore_system_indexes", "jit_debugging_support", "jit_profiling_support", "log_connections",
     "post_auth_delay",
     "log_disconnections", "local_preload_libraries", "session_preload_libraries",
     "Session_Preload_Libraries"],
)  # fmt: skip
def test_what_only_a_starting_session_takes_is_told_apart(name: str) -> None:
    found = wanted_parameters({"user": "a", name: "1", "work_mem": "9MB"})
    assert found.at_start == ((name.lower(), "1"),)
    assert found.parameters is parameter_set({"work_mem": "'9MB'"})


@pytest.mark.parametrize(
    ("options", "at_start"),
    [
        ("-P", (("ignore_system_indexes", "true"),)),
        ("-W 1", (("post_auth_delay", "1"),)),
        ("-c Post-Auth-Delay=1", (("post_auth_delay", "1"),)),
        ("-eP", (("ignore_system_indexes", "true"),)),
        ("-W 1 -P -W 2", (("ignore_system_indexes", "true"), ("post_auth_delay", "2"))),
        ("-e", ()),
    ],
)
def test_in_options_as_well(options: str, at_start: tuple[tuple[str, str], ...]) -> None:
    assert wanted_parameters({"options": options}).at_start == at_start


@pytest.mark.parametrize(
    ("name", "error"),
    [("a b", UnknownParameter), ("a;b", UnknownParameter), ("a'b", UnknownParameter),
     ('a"b', UnknownParameter), ("", UnknownParameter), ("1a", UnknownParameter), ("a=b", UnknownParameter),
     ("a.", InvalidParameterName), (".a", InvalidParameterName), ("a..b", InvalidParameterName),
     ("a.b c", InvalidParameterName)],
)  # fmt: skip
def test_names_that_no_setting_has(name: str, error: type[PoolproxyError]) -> None:
    with pytest.raises(error):
        wanted_parameters({"user": "a", name: "1"})


def test_who_one_wants_to_be_is_a_parameter_like_others() -> None:
    assert wanted(role="a", exit_on_error="on") == {"role": "'a'", "exit_on_error": "'on'"}
    assert wanted(options="-c Role=a") == {"role": "'a'"}


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
