# The commands of the project. `make` lists them.

PYTHON ?= python3
# Relative, so that a folder may have any name: make itself cuts a path at its blanks.
VENV := .venv
BIN := $(VENV)/bin
LIGHT := .venv-verify
# With an NVIDIA GPU the CUDA libraries are installed as well; DEVICE=cpu leaves them out. BACKEND=jax takes those of JAX.
DEVICE ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
BACKEND ?= tensorflow
REQUIREMENTS := requirements$(if $(filter gpu,$(DEVICE)),-gpu$(if $(filter jax,$(BACKEND)),-jax)).txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
SKINLESIONS := $(BIN)/python -m skinlesions
RESOLVE := $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
# The unit tests of what reads and computes: without Keras, DVC, figures and pages.
SLOW := explain figures inference models report stages training core/test_quiet.py \
	$(addprefix commands/test_,check.py pipeline.py status.py verify.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo report status verify predict test test-fast lint check-report lab lock

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed  ## create .venv, every file checked by hash, with this project in it (DEVICE=gpu|cpu, BACKEND=jax)

demo: setup  ## run the whole pipeline on a synthetic sample, in build/demo
	$(SKINLESIONS) demo

report: setup  ## regenerate the report from the images (PRESET="a b" writes presets/a.yaml and b.yaml into params.yaml first; JOBS=4 runs as many stages side by side)
	$(SKINLESIONS) report $(if $(PRESET),--preset $(PRESET)) $(if $(JOBS),--jobs $(JOBS))

status: setup  ## say which stages are not up to date with the code, the parameters and the data
	$(SKINLESIONS) status

# Where nothing is set up, an environment of its own is enough: NumPy, SciPy, pandas, scikit-learn.
verify: $(if $(wildcard $(VENV)/.installed),,$(LIGHT)/.installed)  ## recompute the published tables from the published predictions
	$(if $(wildcard $(VENV)/.installed),$(BIN),$(LIGHT)/bin)/python -m skinlesions verify

predict: setup  ## predict an image, a folder or a zip file of images with the published model (PHOTO=lesion.jpg)
	$(SKINLESIONS) predict "$(or $(PHOTO),$(error say which: make predict PHOTO=lesion.jpg))"

test: $(VENV)/.installed-test  ## run all tests, on all cores
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-fast: $(VENV)/.installed-test  ## run the unit tests of what reads and computes, without Keras, figures and pages
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder tests/unit $(addprefix --ignore=tests/unit/,$(SLOW))

lint: $(VENV)/.installed-test  ## check style, types, and which package imports which
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

check-report: setup  ## check that the published report is whole and agrees with itself
	$(SKINLESIONS) check-report

lab: setup  ## open the notebooks in JupyterLab
	$(BIN)/python -m jupyterlab notebooks

lock: $(VENV)/.installed-test  ## resolve requirements*.in into their .txt, pins kept (UPGRADE=1 takes the newest versions)
	$(RESOLVE) requirements.in -o requirements.txt
	$(RESOLVE) --constraint requirements.txt requirements-gpu.in -o requirements-gpu.txt
	$(RESOLVE) --constraint requirements.txt requirements-gpu-jax.in -o requirements-gpu-jax.txt
	$(RESOLVE) --constraint requirements.txt requirements-test.in -o requirements-test.txt
	$(RESOLVE) --constraint requirements.txt requirements-verify.in -o requirements-verify.txt

# Each stamp is written last: an interrupted installation is taken up again.
$(VENV)/.$(REQUIREMENTS): $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed, $(PYTHON) is older; say which with: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r $(REQUIREMENTS)
	@touch $@

# By the setuptools that is there now, so that nothing is fetched.
$(VENV)/.installed: pyproject.toml $(VENV)/.$(REQUIREMENTS)
	$(PIP) --no-build-isolation --editable .
	@touch $@

# What only the tests and checks need comes on top, in versions that agree with requirements.txt.
$(VENV)/.installed-test: requirements-test.txt $(VENV)/.installed
	$(PIP) --require-hashes -r requirements-test.txt
	@touch $@

$(LIGHT)/.installed: requirements-verify.txt
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@
