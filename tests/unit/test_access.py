"""The file of rules as a setting names it: what is wrong with it, and what it deserves a warning for."""

from __future__ import annotations

from pathlib import Path

import pytest

from poolproxy.access import advice, read_rules
from poolproxy.settings import InvalidSettings, Settings


def settings_of(path: Path | str) -> Settings:
    return Settings(databases={"shop": {"url": "postgres://h/shop"}}, auth_hba_file=str(path))


def test_no_file_means_no_rules() -> None:
    assert read_rules(Settings(databases={"x": {"url": "postgres://u:p@h/x"}})) is None


def test_files_beside_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "hba").write_text("host @names all all md5\ninclude more/rest\n")
    (tmp_path / "names").write_text("one\ntwo\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "rest").write_text("local all all trust\n")
    rules = read_rules(settings_of(tmp_path / "hba"))
    assert rules is not None
    assert [(rule.where.removeprefix(str(tmp_path)), rule.method) for rule in rules] == [
        ("/hba line 1", "md5"),
        ("/more/rest line 1", "trust"),
    ]


def test_a_directory_is_read_as_postgresql_reads_it(tmp_path: Path) -> None:
    """In the order of bytes, whatever the locale says; what is hidden, no .conf, or a directory is not
    read. Each file's own names are relative to itself."""
    folder = tmp_path / "conf.d"
    (folder / "dir.conf").mkdir(parents=True)
    for name in ("b.conf", "a.conf", "B.conf", "é.conf", ".conf", ".a.conf", "c.conf~", "conf"):
        (folder / name).write_text(f"host all {name} all reject\n")
    (folder / "z.conf").write_text("include_dir ../more\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "x.conf").write_text("local all all peer map=crew\n")
    (tmp_path / "hba").write_text("include_dir conf.d\n")
    (tmp_path / "ident").write_text("include_dir maps\n")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "1.conf").write_text("crew root app\n")
    settings = settings_of(tmp_path / "hba").model_copy(update={"auth_ident_file": str(tmp_path / "ident")})
    rules = read_rules(settings)
    assert rules is not None
    assert [Path(rule.where.removesuffix(" line 1")).name for rule in rules] == [
        "B.conf",
        "a.conf",
        "b.conf",
        "x.conf",
        "é.conf",
    ]
    assert rules.maps.lets("crew", "root", "app")


def test_a_directory_beside_a_file_that_is_named_relatively(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc" / "conf.d").mkdir(parents=True)
    (tmp_path / "etc" / "hba").write_text("include_dir conf.d\n")
    (tmp_path / "etc" / "conf.d" / "x.conf").write_text("local all all peer\n")
    monkeypatch.chdir(tmp_path)
    rules = read_rules(settings_of("etc/hba"))
    assert rules is not None
    assert [rule.where for rule in rules] == ["etc/conf.d/x.conf line 1"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"# nothing\n", "has no rule: nobody could log in"),
        (b"host all all all trusty\n", "line 1: 'trusty' is no method"),
        (b"host all all all trusty\nhost\n", "line 2: the databases are missing"),
        (b"include_dir hba.d\n", "line 1: cannot read hba.d: No such file or directory"),
        (b"include_dir hba\n", "line 1: cannot read hba: Not a directory"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b"#" * (1 << 20) + b"\n", "larger than 1048576 bytes"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "hba"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidSettings) as caught:
        read_rules(settings_of(path))
    assert all(problem.startswith(f"auth_hba_file: {path}") for problem in caught.value.problems)
    assert told in caught.value.problems[-1]


@pytest.mark.parametrize(
    ("line", "warned"),
    [
        ("local all all trust", False),
        ("host all all 127.0.0.0/8 trust", False),
        ("host all all ::1/128 trust", False),
        ("host all all all md5", False),
        ("host all all all reject", False),
        ("host all all 127.0.0.0/7 trust", True),
        ("host all all all trust", True),
        ("host all monitor 10.0.0.0/8 trust", True),
    ],
)
def test_who_trusts_others_is_warned(tmp_path: Path, line: str, warned: bool) -> None:
    path = tmp_path / "hba"
    path.write_text(f"{line}\n")
    found = advice(read_rules(settings_of(path)))
    expected = f"{path} line 1: all who reach the port from there get in without a password"
    assert found == ((expected,) if warned else ())


def test_without_rules_there_is_no_advice() -> None:
    assert advice(None) == ()
