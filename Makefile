# What a fresh machine needs: make, and Python 3.11 to 3.13 with venv. `make help` lists the targets.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1 && { echo $$python; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c .ci/constraints.txt
TORCH ?= 1
ARGS ?=
LABEL_STUDIO := .venv-label-studio
LEFT_OUT := $(if $(filter 0,$(TORCH)),-m "not torch")

.PHONY: help demo stop test lint format benchmark picture clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: .venv/base.stamp $(LABEL_STUDIO)/stamp  ## Real digits, triaged inside a real Label Studio (ARGS are those of `annotriage demo`)
	$(BIN)/annotriage demo $(ARGS)

stop: .venv/base.stamp  ## End what `make demo` left running
	$(BIN)/annotriage demo --stop

test: .venv/test.stamp $(LABEL_STUDIO)/stamp $(if $(filter 0,$(TORCH)),,.venv/torch.stamp)  ## All tests (TORCH=0 leaves torch's out, ARGS go to pytest)
	$(if $(LEFT_OUT),@echo "TORCH=0: the tests that need torch are left out")
	@# One thread of the numerical libraries each: the test processes share the cores. (Numba, which UMAP loads, would give torch two again.)
	@# What Python compiles is kept for the next process.
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder $(LEFT_OUT) $(ARGS)

lint: .venv/test.stamp .venv/torch.stamp  ## Style and types (mypy looks into torch)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/test.stamp  ## Put the code into the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: .venv/test.stamp .venv/torch.stamp  ## The table of figures, into docs/scale.md too (ARGS="--data DIR" for those on MNIST)
	$(BIN)/python tests/benchmarks/run.py --write $(ARGS)

picture: .venv/test.stamp  ## The pictures in the README, from new runs on the demo's digits
	$(BIN)/python tests/e2e/picture.py
	$(BIN)/python tests/web/picture.py

clean:  ## Remove the environments and the demo's files
	rm -rf .venv $(LABEL_STUDIO) .demo

define make_environment
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found: install one (Debian: apt-get install python3 python3-venv)"; exit 1; }
	@test -x $(1)/bin/pip || { echo "Making $(1) with $(PYTHON) ..."; $(PYTHON) -m venv $(1) || \
		{ rm -rf $(1); echo "$(PYTHON) has no venv module: install it (Debian: apt-get install python3-venv)"; exit 1; }; }
endef

.venv/base.stamp: pyproject.toml .ci/constraints.txt
	$(call make_environment,.venv)
	@echo "Installing annotriage into .venv (about 900 MB, some minutes) ..."
	@$(PIP) -e .
	@touch $@

.venv/test.stamp: .venv/base.stamp
	@echo "Installing the test tools ..."
	@$(PIP) -e ".[test,postgres,oidc,ray]"
	@touch $@

.venv/torch.stamp: .venv/base.stamp
	@echo "Installing torch (TORCH=0 goes without) ..."
	@$(PIP) -e ".[torch]"
	@touch $@

# Label Studio pins dozens of packages that annotriage wants in other versions: it gets an environment of its own.
$(LABEL_STUDIO)/stamp: .ci/constraints-label-studio.txt
	$(call make_environment,$(LABEL_STUDIO))
	@echo "Installing Label Studio into $(LABEL_STUDIO): about 1 GB, some minutes, this once ..."
	@$(LABEL_STUDIO)/bin/pip install --quiet --disable-pip-version-check -c $< label-studio
	@touch $@
