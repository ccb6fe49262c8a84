# Two commands for a fresh machine: `make demo` and `make test`. Nothing but Python >= 3.11 is needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

# `auto`: two workers a core, at most eight; much of a test is waiting for other processes. Each has its own emulators.
WORKERS ?= auto
SEEDS ?= $(shell $(PYTHON) -c 'import random; print(*random.sample(range(10**6), 3))')
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --durations=20

.PHONY: demo test test-exhaustive test-shuffled soak coverage check lint types imports bench clean

demo: $(VENV)/local.done  ## the main job on this machine: real photographs in, COCO and masks out
	$(BIN)/gpupipe demo

test: $(VENV)/dev.done  ## all that a change is tried with, in minutes; no AWS, no GPU, no network
	$(PYTEST) -m "not exhaustive"

test-exhaustive: $(VENV)/dev.done  ## the tests that `make test` leaves out, and property tests with all their examples
	$(PYTEST) -m "exhaustive or property" --hypothesis-profile=exhaustive

test-shuffled: $(VENV)/dev.done  ## `make test` three times, files and the tests in them in another order each time
	for seed in $(SEEDS); do \
	  echo "make test-shuffled SEEDS=$$seed"; \
	  $(PYTEST) -m "not exhaustive" --random-order-bucket=module --random-order-seed=$$seed || exit 1; \
	done

soak: $(VENV)/dev.done  ## long storms, by hand: kills what a stack is made of; ROUNDS, SEED; goes on where it was stopped
	$(BIN)/python -m tests.soak --rounds $(or $(ROUNDS),100) $(if $(SEED),--seed $(SEED))

coverage: $(VENV)/dev.done  ## the lines that `make test` does not reach, in this process or one that a test starts
	$(PYTEST) -m "not exhaustive" --cov --cov-report=term-missing:skip-covered

check: lint types imports

lint: $(VENV)/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.done
	$(BIN)/mypy

imports: $(VENV)/dev.done
	$(BIN)/lint-imports

bench: $(VENV)/bench.done  ## prints ratios against peers measured in the same run; takes minutes
	$(BIN)/python -m benchmarks

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "gpupipe needs Python 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/local.done: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[local]'
	touch $@

$(VENV)/dev.done: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[local,worker,evaluate,heif,dev]'
	touch $@ $(VENV)/local.done

$(VENV)/bench.done: $(VENV)/dev.done
	$(PIP) --editable '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) .gpupipe dist build
