"""The drivers' own test-suites, through the proxy in transaction mode.

A suite comes out of its source distribution and tests the installed driver. It runs on direct connections,
and again through `poolproxy run` with a pool of five; each time on a new PostgreSQL. Whatever passes directly
must pass through the proxy, but for the tests that its reviewed list names with a reason (`asyncpg.toml` and
so on): tests of something that no proxy can do. A listed test that passes is as wrong as an unlisted one that
fails.

A proxy that pins everything passes everything: so the share of exchanges that ran on a pinned server has a
ceiling, in the same list.

`python -m tests.suites psycopg2` runs one by hand and prints a section for docs/drivers.md. asyncpg's runs in
tests/system.
"""
