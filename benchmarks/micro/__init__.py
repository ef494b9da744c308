"""Single functions of the hot path and of the login, timed alone: `python -m benchmarks.micro`.

The numbers say where a change helped; whether it matters is for `benchmarks.peers` to say.
"""
