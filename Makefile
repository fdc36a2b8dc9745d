# make quickstart | test | lint        STACK=onedl takes the maintained fork of OpenMMLab
STACK  ?= openmmlab
PYTHON ?= python3
VENV   := $(if $(filter openmmlab,$(STACK)),.venv,.venv-$(STACK))
BIN    := $(VENV)/bin
JOBS   ?= 2

.PHONY: quickstart clean-quickstart test test-slow test-reliability lint format docs gpu

quickstart: $(VENV)/.installed
	$(BIN)/python -W ignore tools/quickstart.py

clean-quickstart:
	rm -rf work_dirs/quickstart

# Two processes share the tests; JOBS=0 runs them in one.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow $(ARGS)

# Kills trainings and resumes them; ARGS="--kills 200 --seed 1 CONFIG" for more.
test-reliability: $(VENV)/.installed-dev
	$(BIN)/python -W ignore -m tests.reliability.kill_matrix $(ARGS)

# What only a GPU can show, docs/gpu.md; with the torch, timm and pytest of $(PYTHON): no install.
gpu:
	$(PYTHON) -W ignore tools/gpu.py $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

# The site, in docs/_build; a warning is an error.
docs: $(VENV)/.installed-docs
	$(BIN)/python -W ignore -m sphinx -q -W --keep-going -c docs . docs/_build

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch and torchvision in one command, from one place: mixed builds do not import.
$(VENV)/.installed: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch torchvision
	$(BIN)/python -m pip install --quiet -e '.[$(STACK),report]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e '.[$(STACK),dev]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e '.[$(STACK),docs]'
	@touch $@
