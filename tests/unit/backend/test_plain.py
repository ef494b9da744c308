"""A file with a password: what is in it now, and what is no password."""

from __future__ import annotations

from pathlib import Path

import pytest

from poolproxy.backend.passwords import NoPassword
from poolproxy.backend.plain import FileSource
from poolproxy.protocol.md5 import md5_hash
from poolproxy.protocol.scram import secret_from_password


def problem_of(path: Path | str) -> str:
    with pytest.raises(NoPassword) as caught:
        FileSource(str(path)).fetch(thorough=False)
    assert caught.value.__cause__ is None
    assert "hunter2" not in repr(caught.value.__context__)
    return caught.value.message


@pytest.mark.parametrize(
    ("data", "password"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b" hunter 2 \n", " hunter 2 "),
        ("schöne Grüße\n".encode(), "schöne Grüße"),
    ],
)
def test_the_password_is_all_but_the_newline_at_its_end(tmp_path: Path, data: bytes, password: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(data)
    assert FileSource(str(path)).fetch(thorough=False).passwords == (password,)


def test_as_kubernetes_replaces_it(tmp_path: Path) -> None:
    """What is mounted are links to links, and one of them is replaced by a rename."""
    for number in (1, 2):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "password").write_text(f"hunter{number}\n")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "password").symlink_to("..data/password")
    source = FileSource(str(tmp_path / "password"))
    assert source.fetch(thorough=False).passwords == ("hunter1",)
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert source.fetch(thorough=False).passwords == ("hunter2",)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"hunter2\0", "it has a zero byte, or more than 10000 characters"),
        (b"hunter2" * 2000, "it has a zero byte, or more than 10000 characters"),
        (b"hunter2" * 2_000_000, "it has a zero byte, or more than 10000 characters"),
        (b"hunter2\xff", "it is no UTF-8 text"),
        (secret_from_password("hunter2").format().encode(), "it is a stored form of a password"),
        (md5_hash("app", "hunter2").encode(), "it is a stored form of a password"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_password(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(data)
    message = problem_of(path)
    assert problem in message
    assert message.startswith("password_file: ")
    assert "hunter2" not in message


def test_what_cannot_be_read(tmp_path: Path) -> None:
    assert problem_of(tmp_path / "missing") == "password_file: it cannot be read (No such file or directory)"
    assert problem_of(tmp_path) == "password_file: it cannot be read (Is a directory)"
    assert problem_of("a\0b") == "password_file: it cannot be read (no path)"


def test_it_is_named_by_its_path() -> None:
    assert repr(FileSource("/run/secrets/app\n")) == r"password_file /run/secrets/app\n"
