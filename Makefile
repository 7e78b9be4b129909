# Two commands for newcomers: `make demo` and `make test`. Both set up .venv first.

TORCH ?= torch==2.13.0
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
WORKERS ?= 2
DEMO ?= runs/demo
BENCH ?= --threads 1 2 --output benchmarks/RESULTS.md

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.luce-installed
PINS := constraints.txt
ifneq ($(TORCH),torch==2.13.0)
PINS := $(VENV)/constraints.txt
endif

.PHONY: demo test coverage check audit sbom mutants docs setup format clean

demo: $(STAMP)
	$(BIN)/luce demo --output-dir $(DEMO)

test: $(STAMP)
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n $(WORKERS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --doctest-modules src/luce

# tools that look at an environment, in one of their own
TOOLS := build/tools
$(TOOLS)/.installed: constraints.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet pip-audit cyclonedx-bom
	touch $@

audit: $(TOOLS)/.installed
	$(TOOLS)/bin/pip-audit -r constraints.txt --no-deps --disable-pip

sbom: $(STAMP) $(TOOLS)/.installed
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-file build/sbom.json $(BIN)/python

# lines and branches that the default suite reaches; takes about twice as long as `make test`
coverage: $(STAMP)
	rm -rf build/coverage && mkdir -p build/coverage
	OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest -n $(WORKERS) -q \
	  --cov --cov-report=html --cov-report=term --cov-fail-under=92

mutants: $(STAMP)
	$(BIN)/python tests/mutants.py --jobs $(WORKERS)

docs: $(STAMP)
	$(BIN)/python -m luce.objectives.page docs
	$(BIN)/python -m luce.lab.summary docs
	$(BIN)/python -m mkdocs build --strict --clean --site-dir site

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(BENCH)

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "luce needs Python 3.11 or newer; found: \
	$$(python3 --version 2>&1). Say where it is: make setup PYTHON=/path/to/python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet -c $(PINS) $(TORCH)
	$(BIN)/python -m pip install --quiet -c $(PINS) hatchling editables
	$(BIN)/python -m pip install --quiet -c $(PINS) --no-build-isolation -e '.[dev]'
	touch $(STAMP)

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist site .pytest_cache .ruff_cache .hypothesis .import_linter_cache
