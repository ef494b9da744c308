"""Figures that defend poolproxy's speed: always side by side with a rival in one run, never absolute times.

`peers` (what `make bench` runs) measures direct PostgreSQL, PgBouncer and poolproxy in turns and writes
RESULTS.md; `micro` times single functions of the hot path. For `peers`, `figures` says what is measured and
against which bar, `workloads`, `memory` and `beside` how, `targets` whom, `server` what is behind them all;
`lean`, `crowd` and `steady` are clients of our own, `certificate` is what TLS is made with; `process` reads
/proc, `stalls` our /metrics, and `report` turns samples into tables.
"""
