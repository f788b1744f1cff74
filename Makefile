# `make help` lists what people type. Everything runs in .venv, made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST_ARGS ?= -n auto

.DEFAULT_GOAL := help
.PHONY: help venv dev demo demo-sweep test lint format cost-table bench bench-sweep bench-serve clean

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

venv: $(VENV)/.installed ## make .venv and install TinyRM with the pinned versions
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("TinyRM needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

dev: $(VENV)/.installed-dev ## the same with what tests and checks need
$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	touch $@

demo: venv ## train and evaluate one TinyRM offline on the embedded default (about two minutes on 2 cores)
	$(BIN)/python run.py

demo-sweep: venv ## a small study of 12 MiniLM trials and its report (some minutes on 2 idle cores)
	$(BIN)/python run.py -m +sweeps=demo
	$(BIN)/tinyrm report demo

test: dev ## the whole test suite (PYTEST_ARGS='-k name' for a part)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: dev ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: dev ## format, and mend what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

cost-table: venv ## trained parameters, memory and pairs/s of dora, lora and full at freeze=0,3,5 on MiniLM
	$(BIN)/python tests/bench/adapter_cost.py

bench: dev ## speed of training and scoring beside plain loops, on this machine (20 minutes on 2 idle cores; BENCH_ARGS='--data FOLDER --only steps')
	$(BIN)/python tests/bench/speed.py $(BENCH_ARGS)

bench-sweep: dev ## what a sweep costs and gains beside other sweepers (an hour on 2 idle cores; BENCH_ARGS='--only a --quick')
	$(BIN)/python tests/bench/sweep.py $(BENCH_ARGS)

bench-serve: dev ## the model in use: library, service under load, soak, GRPO (20 minutes; BENCH_ARGS='RUN --only load')
	$(BIN)/python tests/bench/serve.py $(BENCH_ARGS)

clean: ## remove .venv and caches; runs stay
	rm -rf $(VENV) .venv-bench .venv-bench-trl .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info
