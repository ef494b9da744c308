"""Which databases a text needs nobody to be in."""

from __future__ import annotations

import pytest

from poolproxy.session.vacated import vacated
from tests.unit.session.looking import found

TEXTS = [
    ("drop database shop", ("shop",)),
    ("DROP  DATABASE\nIF EXISTS Shop;", ("shop",)),
    ('drop database "Sh""op" with (force)', ('Sh"op',)),
    ("drop database shöp", ("shöp",)),
    ("drop database " + "x" * 70, ("x" * 63,)),
    ("alter database shop rename to store", ("shop",)),
    ('alter database"shop"rename to store', ("shop",)),
    ("alter database shop set tablespace fast", ("shop",)),
    ("alter database shop set work_mem = '1MB'", ()),
    ("alter database shop owner to app", ()),
    ("create database copy template shop", ("shop",)),
    ("create database copy with owner = app template = 'sh''op' encoding 'utf8'", ("sh'op",)),
    ('create database copy template="Shop"', ("Shop",)),
    ("create database fresh", ("template1",)),
    ("create database a template b; drop database c", ("c", "b")),
    ("drop database a; drop database a", ("a",)),
    ("comment on database shop is 'drop'", ()),
    ("grant connect on database shop to app", ()),
    ("drop table database", ()),
]


@pytest.mark.parametrize(("text", "names"), TEXTS)
def test_names(text: str, names: tuple[str, ...]) -> None:
    assert vacated(text.encode()) == names
    finding = found(text)
    assert (finding.databases if finding is not None else ()) == names


def test_nothing_else_is_looked_at() -> None:
    finding = found("insert into log values ('drop database shop')")
    assert finding is None or finding.databases == ()
