# make quickstart | test | lint        STACK=onedl takes the maintained fork of OpenMMLab
STACK  ?= mm
PYTHON ?= python3
VENV   := $(if $(filter mm,$(STACK)),.venv,.venv-$(STACK))
BIN    := $(VENV)/bin
JOBS   ?= 2

.PHONY: quickstart clean-quickstart test test-slow test-reliability stacks lint format docs gpu

quickstart: $(VENV)/.installed
	$(BIN)/python -W ignore tools/quickstart.py

clean-quickstart:
	rm -rf work_dirs/quickstart

# Two processes share the tests; JOBS=0 runs them in one.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow $(ARGS)

# The oldest and the newest releases that we test with, in environments of their own.
stacks:
	$(PYTHON) tools/stacks.py $(ARGS)

# Kills trainings and resumes them; ARGS="--kills 200 --seed 1 CONFIG" for more.
test-reliability: $(VENV)/.installed-dev
	$(BIN)/python -W ignore -m tests.reliability.kill_matrix $(ARGS)

# What only a GPU can show, docs/gpu.md; with the torch, timm and pytest of $(PYTHON): no install.
# A test that fails stops no measurement. A compiled row takes up to a minute to compile.
COMPILED := student step,teacher forward,aal step,timm feature distillation,straightforward aal
gpu:
	@failed=0; \
	AAL_GPU_TESTS_DEVICE=cuda $(PYTHON) -W ignore -m pytest -v tests/gpu || failed=1; \
	measure="$(PYTHON) -W ignore tools/benchmark.py --device cuda $(ARGS)"; \
	$$measure --json docs/results/gpu/benchmark.json || exit 2; \
	$$measure --compile --only "$(COMPILED)" --json docs/results/gpu/compiled.json || failed=1; \
	exit $$failed

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
	$(BIN)/python -m pip install --quiet -e '.[$(STACK)]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e '.[$(STACK),dev]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e '.[$(STACK),docs]'
	@touch $@
