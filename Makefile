# The commands of the project. `make` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
DEMO := build/demo
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps
RESOLVE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" --upgrade
export PATH := $(BIN):$(PATH)
export PYTHONUNBUFFERED := 1
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup demo report verify test lab lock

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed  ## create .venv from requirements.txt, every file checked by hash

# The stamp is written last: an interrupted installation is taken up again.
$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed, $(PYTHON) is older; say which with: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -r requirements.txt
	@touch $@

demo: setup  ## run the whole pipeline on a synthetic sample, in build/demo
	$(BIN)/python -m skinlesions.commands.demo presets/sample.yaml $(DEMO)

report: setup  ## regenerate the report from the images (PRESET="a b" applies presets/a.yaml and b.yaml to params.yaml first)
	$(foreach preset,$(PRESET),$(BIN)/python -m skinlesions.core.config apply presets/$(preset).yaml && )true
	$(BIN)/python -m skinlesions.commands.check
	$(BIN)/dvc repro

verify: setup  ## recompute the published tables from the published predictions
	$(BIN)/python -m skinlesions.commands.verify

test: $(VENV)/.installed-test  ## run the test suite
	$(BIN)/python -m pytest

# What only the tests need comes on top, in versions that agree with requirements.txt.
$(VENV)/.installed-test: requirements-test.txt $(VENV)/.installed
	$(INSTALL) -r requirements-test.txt
	@touch $@

lab: setup  ## open the notebooks in JupyterLab
	PYTHONPATH=$(CURDIR) $(BIN)/jupyter lab notebooks

lock: setup  ## resolve requirements.in and requirements-test.in into their .txt again
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(RESOLVE) requirements.in -o requirements.txt
	$(RESOLVE) --constraint requirements.txt requirements-test.in -o requirements-test.txt
