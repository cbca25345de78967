# The tools are those of a virtual environment: python3 -m venv .venv && .venv/bin/pip install -e ".[dev]"
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: check docs refresh bench

check:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto
	$(BIN)/pytest -m attack

# Writes the reference pages and the output of quick commands, then builds the site into site/.
docs:
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/refresh.py --light
	$(BIN)/mkdocs build --strict

# Runs every command whose output a page shows, and draws the pictures: trains for about half an hour on two cores.
refresh:
	$(BIN)/python docs/refresh.py --work .refresh
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/pictures.py .refresh

bench:
	$(BIN)/pytest benchmarks --benchmark-only
