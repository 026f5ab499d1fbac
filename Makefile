# make demo: see it work.  make test: every check CI runs.  make bench, make endure: figures and long runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types imports unit bounds bench bench-short endure audit clean tools

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV) || { echo 'python3-venv is missing: apt install python3-venv' >&2; exit 1; }

$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/.demo
	$(BIN)/gateway demo $(DEMO)

tools: $(VENV)/.dev
	tests/tools.sh

test: tools lint types imports unit bounds bench-short

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy gateway tests

imports: $(VENV)/.dev
	$(BIN)/lint-imports

# Three workers on two cores: most tests wait for something.
unit: $(VENV)/.dev
	$(BIN)/gateway warm
	$(BIN)/pytest --numprocesses=3 -m 'not endure and not bench'

# Numba checks no index by itself: the kernels' tests once more with its bounds checks, which cached code doesn't have.
bounds: $(VENV)/.dev
	NUMBA_BOUNDSCHECK=1 GATEWAY_KERNEL_CACHE=off $(BIN)/pytest --quiet tests/unit/pipeline/kernels tests/unit/codec

bench-short: tools
	$(BIN)/python -m tests.bench --short

bench: tools
	$(BIN)/python -m tests.bench

endure: tools
	$(BIN)/pytest -m endure --timeout=3600

# What a release is made of, and what is known against it: build/sbom.json, build/audit.json.
audit:
	PYTHON=$(PYTHON) deploy/audit.sh

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
