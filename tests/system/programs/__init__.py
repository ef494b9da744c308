"""Real programs, unchanged, each with 20 clients on 2 servers: they must tell what they tell directly.

The programs lie in folders by language and judge nothing. They print lines of JSON, `[client, step, answer]`;
the harness runs each once straight at PostgreSQL and once through the proxy, compares, and reads what was
pinned.

    python -m tests.system.programs                          # run all, print the table
    python -m tests.system.programs --write docs/drivers.md  # and write it there
"""
