# `make demo` and `make test` do all the set-up themselves, in a virtual environment of their own.
# CPU-only PyTorch: make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
BIN := $(VENV)/bin
LOCK := requirements.lock

.PHONY: demo test test-slow check lint types docs bench cards lock

demo: $(VENV)/.ready
	$(BIN)/sim2real demo

test: $(VENV)/.ready
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --durations 30

test-slow: $(VENV)/.ready
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadfile

check: lint types docs test

lint: $(VENV)/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.ready
	$(BIN)/mypy

docs: $(VENV)/.ready
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/.ready
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

cards: $(VENV)/.ready
	$(BIN)/python -m sim2real.datasets.cards

lock: $(VENV)/.ready
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --group dev pyproject.toml -o $(LOCK)

$(VENV)/.ready: $(LOCK) pyproject.toml plugins/sim2real-toytown/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sim2real needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
ifeq ($(TORCH_INDEX),)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(LOCK)
else
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --index-url $(TORCH_INDEX) $$(grep -oE '^torch(vision)?==[0-9.]+' $(LOCK))
	grep -vE '^(torch|torchvision|triton|nvidia-|cuda-)' $(LOCK) > $(VENV)/without-torch.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(VENV)/without-torch.lock
endif
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e plugins/sim2real-toytown
	touch $@
