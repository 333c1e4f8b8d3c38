# Two commands matter: `make run` and `make test`. Both make their virtual environment first; only Python (3.11 or newer) and make are needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
THREADS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: run test test-long format lint types contracts pytest bench results clean

run: $(VENV)/.run
	$(BIN)/mopo run --task ant-angle --preset quick

test: format lint types contracts pytest

format: $(VENV)/.dev
	$(BIN)/ruff format --check .

lint: $(VENV)/.dev
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

pytest: $(VENV)/.dev
	$(THREADS) $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-long: $(VENV)/.dev
	LONG_TESTS=1 $(MAKE) pytest

bench: $(VENV)/.dev
	@for script in tests/bench/bench_*.py; do echo "$$script"; $(THREADS) $(BIN)/python $$script || exit 1; done

results: $(VENV)/.dev
	$(BIN)/python runs/results.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mopo-tui needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
