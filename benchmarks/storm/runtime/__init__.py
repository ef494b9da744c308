"""Execution environments that run: what a runtime is, as tasks of this process or as forked processes.

`runtime` is the face, `tasks` and `processes` are the two kinds. Nothing here decides when an environment is
started, frozen or killed: the model does, and the runner passes it on.
"""
