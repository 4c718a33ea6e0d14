# Everything runs in a virtual environment of the repository's own. All that has to be there is a Python >= 3.11 with
# venv and pip; another one than `python3` is chosen with `make PYTHON=python3.12 ...`.
PYTHON ?= python3
EXTRAS ?= dev
PYTEST_ARGS ?=
DEMO_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Two test processes share the cores: each keeps XLA and the BLAS to one thread, or they would fight for them.
WORKERS ?= 2
# Most of the time of a test is compilation: XLA is told to hurry (a third of the time; other rounding, the same programs).
HURRIED := --xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false \
	--xla_cpu_max_isa=AVX --xla_cpu_parallel_codegen_split_count=1
ONE_THREAD := NPROC=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 XLA_FLAGS="$(HURRIED)"
PYTEST = $(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

# Commands, pictures and documents are run in the precision that users have them in, and once.
ONCE := tests/cli tests/plotting tests/test_documents.py tests/test_progress.py

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install test test64 test32 demo lint notebooks bench experiments clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp is written last: an interrupted installation starts again, a finished one is never repeated.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "pdejax needs Python >= 3.11, and '$(PYTHON)' is older or missing: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing pdejax[$(EXTRAS)] into $(VENV) (once, a few minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

install: $(INSTALLED)  ## set up .venv with the pinned dependencies

test: test64 test32  ## all tests, in double and in single precision

test64: $(INSTALLED)  ## the tests of everything that computes, in double precision
	JAX_ENABLE_X64=1 $(PYTEST) --each-once $(addprefix --ignore=,$(ONCE))

test32: $(INSTALLED)  ## all tests that do not need double precision, in single precision
	JAX_ENABLE_X64=0 $(PYTEST) --each-once

demo: $(INSTALLED)  ## data, training, evaluation and report of a Navier-Stokes surrogate, in out/demo
	$(BIN)/pdejax demo --out out/demo $(DEMO_ARGS)

lint: $(INSTALLED)  ## style, types and the layering of the imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

notebooks: $(INSTALLED)  ## execute every notebook at toy size; the results go to out/notebooks
	PDEJAX_TOY=1 $(BIN)/python scripts/run_notebooks.py notebooks out/notebooks

# Those on a file that this project does not make are left out without it.
bench: $(INSTALLED)  ## every benchmark, side by side with the peers; BURGERS=burgers_16.hdf5 for the one that needs it
	@set -e; for script in $(filter-out benchmarks/operators%.py benchmarks/message_passing.py,$(wildcard benchmarks/[!_]*.py)); do \
		echo "== $$script"; $(BIN)/python "$$script"; done
ifneq ($(BURGERS),)
	$(BIN)/python benchmarks/operators.py --data $(BURGERS)
endif

# The data of the experiments: the recipe's own set, unless others are named.
MADE := out/datasets/kolmogorov_flow/data
DATA ?= $(MADE)/train/kolmogorov_flow.hdf5
VALID ?= $(MADE)/valid/kolmogorov_flow.hdf5
EXPERIMENT_ARGS ?=
# The file burgers_16.hdf5, which this project does not make; without it that experiment is left out.
BURGERS ?=

$(MADE)/train/kolmogorov_flow.hdf5 $(MADE)/valid/kolmogorov_flow.hdf5 &: | $(INSTALLED)
	$(BIN)/python datasets/kolmogorov_flow.py --out out/datasets/kolmogorov_flow

# Those that make their data themselves.
ON_OWN_DATA := ks_unrolled learned_correction fno_burgers fno_darcy fno_navier_stokes gfno_symmetric \
	conditioning_viscosities specboost_burgers transformer_darcy refiner_ks sinenet_waves

experiments: $(INSTALLED) $(DATA) $(VALID)  ## every experiment, on the data of the recipe or on DATA=... VALID=...
	@set -e; for name in fno_kolmogorov kolmogorov_models; do \
		echo "== $$name"; $(BIN)/python experiments/$$name.py --data $(DATA) --valid $(VALID) \
			--results experiments/results --overwrite $(EXPERIMENT_ARGS); done
	@set -e; for name in $(ON_OWN_DATA); do \
		echo "== $$name"; $(BIN)/python experiments/$$name.py --results experiments/results --overwrite; done
ifneq ($(BURGERS),)
	$(BIN)/python experiments/flax_burgers.py --data $(BURGERS) --results experiments/results --overwrite
endif

clean:  ## remove the environment, the outputs and the caches
	rm -rf $(VENV) out build dist .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
