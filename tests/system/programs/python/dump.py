"""pg_dump and pg_restore: 20 at once of one database, then restored, while others work, and dumped again."""

import hashlib
import os
import pathlib
import subprocess
import sys

from crowd import tell, threads

BIN = pathlib.Path(os.environ["POSTGRES_BIN"])
COPIES = ("shop_plain", "shop_custom", "shop_parallel")
KINDS = {
    "plain": [],
    "custom": ["--format=custom"],
    "tar": ["--format=tar"],
    "directory": ["--format=directory"],
    "schema": ["--schema-only", "--no-owner"],
    "inserts": ["--data-only", "--inserts", "--disable-triggers"],
    "one schema": ["--schema=side", "--serializable-deferrable"],
}


def run(program, *arguments, stdin=None):
    command = [str(BIN / program), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=100)
    if done.returncode:
        sys.exit(f"{command} exited {done.returncode}: {done.stderr[-3000:]}")
    return done.stdout


def psql(sql, database="shop"):
    return run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, stdin=sql)


def readable(text):
    """Without the key that each dump draws to guard psql."""
    return "".join(
        line for line in text.splitlines(True) if not line.startswith(("\\restrict", "\\unrestrict"))
    )


def told(text):
    """Enough of a dump to see that it is the same."""
    lines = readable(text).splitlines()
    return [len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()]


def dump(n):
    kind = list(KINDS)[n % len(KINDS)]
    file = f"dump{n}"
    if kind in ("custom", "tar", "directory"):
        run("pg_dump", "-d", "shop", *KINDS[kind], "-f", file)
        text = run("pg_restore", "-f", "-", file)
    else:
        text = run("pg_dump", "-d", "shop", *KINDS[kind])
    tell(n, f"dump, {kind}", told(text))


def restore(n):
    """Three restore; the others read meanwhile."""
    if n == 0:
        psql(run("pg_dump", "-d", "shop"), "shop_plain")
    elif n == 1:
        run("pg_dump", "-d", "shop", "--format=custom", "-f", "custom.dump")
        run("pg_restore", "-d", "shop_custom", "--exit-on-error", "--single-transaction", "custom.dump")
    elif n == 2:
        run("pg_dump", "-d", "shop", "--format=directory", "-f", "directory.dump")
        run("pg_restore", "-d", "shop_parallel", "--exit-on-error", "--jobs=2", "directory.dump")
    else:
        for _ in range(5):
            tell_once = psql(
                "select current_setting('search_path'), count(*) from customer; show statement_timeout"
            )
        tell(n, "meanwhile", tell_once)


def main():
    tell(None, "versions", {"pg_dump": run("pg_dump", "--version").split()[2]})
    psql(pathlib.Path(__file__).with_suffix(".sql").read_text())
    threads(dump)
    threads(restore)
    original = readable(run("pg_dump", "-d", "shop"))
    for copy in COPIES:
        tell(None, f"{copy} is equal", readable(run("pg_dump", "-d", copy)) == original)
    tell(None, "after", psql("select count(*) from customer; show search_path"))


def parallel():
    """With parallel workers, which read the snapshot of the first connection: each holds a server."""
    tell(None, "versions", {"pg_dump": run("pg_dump", "--version").split()[2]})
    psql(pathlib.Path(__file__).with_suffix(".sql").read_text())

    def one(n):
        if n == 0:
            run("pg_dump", "-d", "shop", "--format=directory", "--jobs=2", "-f", "parallel.dump")
            tell(n, "dump, two jobs", told(run("pg_restore", "-f", "-", "parallel.dump")))
        else:
            tell(n, "meanwhile", [psql("select count(*) from customer") for _ in range(3)])

    threads(one)


if os.environ.get("PARALLEL"):
    parallel()
else:
    main()
