# make demo | make test: each does all the set-up itself in .venv and is quick the second time.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo quick test test-all check docs clean

VENV := .venv
BIN := $(VENV)/bin
# The first Python that is new enough; `make PYTHON=/path/to/python3.12 test` picks another.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11 python
PYTHON ?= $(shell for p in $(CANDIDATES); do $$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
PY = $(or $(PYTHON),python3)

# What the caller's shell sets for other projects must not reach this one.
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONOPTIMIZE PYTHONWARNINGS VIRTUAL_ENV
unexport PYTEST_ADDOPTS PYTEST_PLUGINS MYPYPATH PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV
export PYTHONNOUSERSITE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

INSTALL = echo "installing clearhead[$(1)] into $(VENV) ..." && \
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(1)]' && touch $@

help:
	@echo "make demo      train a small zh->en Transformer on the embedded corpus and talk to it"
	@echo "make test      the checks, then the test suite: some eight minutes on two cores, ten without caches"
	@echo "make test-all  that, then the long forms of some tests: half an hour at the most"
	@echo "make quick     the unit tests that train nothing, and a few steps of each family: two minutes"
	@echo "make check     the checks alone (format, lint, types, layers, spelling, architecture)"
	@echo "make docs      the documentation site, English and Chinese, into site/: needs no network once installed"
	@echo "make clean     remove .venv, caches and builds (never runs/)"

demo: $(VENV)/.demo
	@$(BIN)/clearhead demo

# one thread a process, two processes; who is done early takes tests from the other; `check` has run the architecture's
PYTEST = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

quick: $(VENV)/.test
	$(PYTEST) -m quick $(addprefix tests/unit/,data decode drawing models nn optim text) tests/e2e/test_thin.py

test: check
	$(PYTEST) -m "not long" --ignore tests/architecture

test-all: test
	$(PYTEST) -m long

docs: $(VENV)/.docs
	@$(BIN)/python scripts/site

check: $(VENV)/.test
	@$(BIN)/python scripts/check

$(VENV)/pyvenv.cfg:
	@$(PY) -c '$(NEW_ENOUGH)' 2>/dev/null || { \
		echo "clearhead needs Python >= 3.11; found $$($(PY) -V 2>&1 || true)." \
			"Name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PY) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	@$(call INSTALL,plots)

$(VENV)/.test: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	@$(call INSTALL,test)

$(VENV)/.docs: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	@$(call INSTALL,docs)

clean:
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests benchmarks examples website -name __pycache__ -type d -exec rm -rf {} + 2>/dev/null || true
