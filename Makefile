# Two commands for a fresh machine: `make demo` and `make test`. Nothing but Python >= 3.11 is needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test check lint types imports bench clean

demo: $(VENV)/local.done  ## the main job on this machine: real photographs in, COCO and masks out
	$(BIN)/gpupipe demo

test: $(VENV)/dev.done  ## every test; no AWS, no GPU, no network
	$(BIN)/python -m pytest

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
	$(PIP) --editable '.[local,worker,evaluate,dev]'
	touch $@ $(VENV)/local.done

$(VENV)/bench.done: $(VENV)/dev.done
	$(PIP) --editable '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) .gpupipe dist build
