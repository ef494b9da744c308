"""A Lambda storm against any PostgreSQL endpoint: `python -m benchmarks.storm`.

What brings people to a pooler is not a steady load but a storm: hundreds of execution environments that start
within seconds, connect, freeze, thaw, are killed in mid-transaction, and never say goodbye. This package lets
such a storm loose, on real sockets, on several endpoints in turn, and says who stood it.

    arrivals ──► Service ── actions ──► Storm ──► Runtime ── sessions ──► endpoint ──► PostgreSQL
    (open loop)  (model/: what Lambda   (runner: does  (runtime/: handlers      │
                  would decide)          it, in time)   in environments)        └── counted by the Observer
                                            │
                                            └──► Recorder ──► Trial ──► Run ──► page, JSON, table

* `model/` decides and never does: sans-IO, deterministic under a seed, in Lambda time.
* `runtime/` does what it is told with an execution environment: start, invoke, freeze, kill. As tasks of this
  process for numbers, as forked processes for true freezes and kills.
* `clients/` are what handlers connect with, `handlers/` are the functions, `ledger.py` finds afterwards what
  was acknowledged and lost, or done twice, or by halves.
* `runner.py` is the only place where model and machine meet; it knows both clocks.
* `scenarios/` say which functions, which arrivals, what is done to the environments meanwhile, and what must
  hold. `endpoints.py` are those that it is let loose on.
* `results.py` is what a run leaves behind; `report/` and `live.py` show it, and must not know how it came
  about.
"""
