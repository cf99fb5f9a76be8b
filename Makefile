# Two commands do everything: `make up` runs Perennial, `make test` checks it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: env up demo quick lint types claims test clean

env: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "perennial: making $(VENV) with $$($(PYTHON) --version); the wheels are about 1 GB, a few minutes on a fast line"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --progress-bar on -c constraints.txt "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	@$(BIN)/python -m pip install --progress-bar on -c constraints.txt -e ".[dev]"
	@touch $@

up: env
	@$(BIN)/perennial up

demo: env
	@$(BIN)/perennial demo

quick: lint claims

lint: env
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: env
	@$(BIN)/mypy

claims: env
	@$(BIN)/pytest -n 2 tests/rooms tests/unit

test: quick types
	@$(BIN)/pytest -n 2 tests/contract tests/flow tests/repository
	@$(BIN)/pytest tests/e2e

clean:
	@if [ -x $(BIN)/perennial ]; then $(BIN)/perennial down; fi
	@rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache build dist
	@git clean -fdXq model_repository
