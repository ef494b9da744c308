"""Fuzzing of everything that reads foreign bytes: `make fuzz`, or `python -m tests.fuzz --help`.

A target (`targets.py`) takes any bytes and raises when they break a promise. `guided.py` feeds it what
atheris makes up from the coverage of the `.py` sources; `blind.py`, which needs no package, what
`mutator.py` makes of the corpus, on whichever build is loaded, and measures work and memory of each input.
The corpus is made from what real clients and a real PostgreSQL send (`record.py`). An input that breaks
something is kept in the corpus, whose every file is a test (`test_corpus.py`).
"""
