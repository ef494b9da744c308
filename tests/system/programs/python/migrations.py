"""Alembic migrates up and down while 19 other clients work, and generates a migration."""

import argparse
import io
import pathlib
import shutil

import alembic
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from crowd import tell, threads
from migrated import Steady, engine
from sqlalchemy import func, insert, inspect, select
from sqlalchemy.orm import Session

# A copy, for autogenerate writes into it.
shutil.copytree(pathlib.Path(__file__).parent / "alembic_shop", "alembic_shop")
config = Config(stdout=io.StringIO(), cmd_opts=argparse.Namespace(quiet=True))  # only lines of JSON are told
config.set_main_option("script_location", "alembic_shop")
config.set_main_option("path_separator", "os")


def tables():
    found = inspect(engine)
    return {
        table: [[c["name"], str(c["type"]), c["nullable"]] for c in found.get_columns(table)]
        + sorted(index["name"] for index in found.get_indexes(table))
        for table in sorted(found.get_table_names())
    }


def current():
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def migrate(n):
    for turn in range(3):
        command.upgrade(config, "head")
        tell(n, f"up {turn}", [current(), tables()])
        command.downgrade(config, "-1")
        tell(n, f"down one {turn}", [current(), tables()])
        command.downgrade(config, "base")
        tell(n, f"down {turn}", [current(), tables()])
    command.upgrade(config, "head")
    command.revision(config, message="generated", autogenerate=True, rev_id="c3")
    tell(n, "generated", pathlib.Path("alembic_shop/versions/c3_generated.py").read_text())
    command.upgrade(config, "head")
    tell(n, "up to the generated one", [current(), tables()])
    command.check(config)


def work(n):
    seen = []
    for turn in range(30):
        with Session(engine) as session, session.begin():
            session.execute(insert(Steady), [{"client": n, "n": turn}, {"client": n, "n": -turn}])
        with Session(engine) as session:
            seen.append(session.scalar(select(func.sum(Steady.n)).where(Steady.client == n, Steady.n > 0)))
    tell(n, "meanwhile", seen)


def main():
    tell(None, "versions", {"Alembic": alembic.__version__, "SQLAlchemy": sqlalchemy.__version__})
    Steady.__table__.create(engine)
    threads(lambda n: work(n) if n else migrate(n))
    engine.dispose()


main()
