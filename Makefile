# On a fresh clone `make demo` and `make test` need Python >= 3.11 with its headers, a C compiler and make.
# They create .venv themselves; PYTHON=python3.13 picks another interpreter.

PYTHON ?= python3
DOCKER ?= docker
PYTEST_ARGS ?=
JOBS ?= 2
BENCH_ARGS ?=
STORM_ARGS ?=
FUZZ_SECONDS ?= 60
FUZZ_ARGS ?=

BIN := .venv/bin
# Workers take whole files, for the sake of their fixtures, in the order that tests/conftest.py has put them in.
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
INSTALLED := .venv/.installed
BUILT := .venv/.built

# What is compiled: every .pyx or .py with a .pxd beside it (see setup.py).
CYTHON := $(shell find poolproxy -name '*.pyx' -o -name '*.pxd')
COMPILED := $(CYTHON) $(wildcard $(patsubst %.pxd,%.py,$(filter %.pxd,$(CYTHON))))

.PHONY: help demo test test-interpreted test-system check fuzz bench storm deps build image docs clean
.DEFAULT_GOAL := help

help:  ## show these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(BUILT)  ## 500 clients on 20 server connections, against a private PostgreSQL 18
	$(BIN)/poolproxy demo

test: $(BUILT)  ## every test that needs no system package
	$(PYTEST) $(PYTEST_ARGS)

test-interpreted: $(BUILT)  ## unit and dialogue tests with the .py files in place of what was compiled from them
	POOLPROXY_INTERPRETED=1 $(PYTEST) $(wildcard tests/unit tests/dialogues) $(PYTEST_ARGS)

test-system: $(BUILT)  ## tests that need what `make deps` installs
	$(PYTEST) -m system $(PYTEST_ARGS)

check: $(BUILT)  ## format, lint, types, floors, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_floors.py tests/unit/test_docs_in_step.py

fuzz: $(BUILT)  ## everything that reads foreign bytes, under atheris; FUZZ_SECONDS=300 FUZZ_ARGS="login startup"
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

bench: $(BUILT)  ## side by side with PgBouncer; rewrites benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.peers --write benchmarks/RESULTS.md $(BENCH_ARGS)

storm: $(BUILT)  ## Lambda storms on PostgreSQL, PgBouncer and poolproxy; writes storm.html and storm.json
	$(BIN)/python -m benchmarks.storm --html storm.html --json storm.json $(STORM_ARGS)

deps:  ## system packages for test-system and bench (Debian and its relatives; asks for root)
	bash .ci/deps

docs: $(BUILT)  ## write the generated pages of docs/ anew
	$(BIN)/python -m tools.generate_docs

build: $(BUILT)  ## sdist and wheel, in dist/
	$(BIN)/python -m build

image:  ## the container image
	$(DOCKER) build -t poolproxy .

clean:  ## remove everything that make made, .venv included
	rm -rf .venv .cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find poolproxy \( -name '*.c' -o -name '*.so' \) -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Two stamps, so that a second run starts at once: one for the environment, one for the compiled part.
$(INSTALLED): pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("poolproxy needs Python >= 3.11, this is " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	# With the build's own requirements installed, what is compiled here is not compiled a second time in isolation.
	$(BIN)/python -m pip install --quiet 'setuptools>=77' 'Cython>=3.1'
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[dev]'
	touch $@

$(BUILT): $(INSTALLED) $(COMPILED)
	$(BIN)/python setup.py --quiet build_ext --inplace
	touch $@
