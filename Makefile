# Two commands on a fresh machine with Python, pip, git and make: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
DATA   ?= generated
OUT    ?= runs/demo

.PHONY: help demo report-demo same test test-all test-data fuzz bench bench-parent docs docs-serve lint format clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/user.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/user.stamp

demo: $(VENV)/user.stamp  ## train on a rendered image set (or DATA=photos/), show what was learnt
	$(BIN)/viewkin demo --data "$(DATA)" --out "$(OUT)"

report-demo: $(VENV)/user.stamp  ## train a few tiny runs, draw every figure into runs/report-demo/report.html
	$(BIN)/python scripts/report_demo.py

lint: $(VENV)/dev.stamp  ## format, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: lint  ## everything CI runs: lint and all tests on generated data
	$(BIN)/pytest -m "not grid and not data" -n 2 --dist worksteal

test-all: lint  ## the whole grid of methods as well
	$(BIN)/pytest -m "not data" -n 2 --dist worksteal

test-data: $(VENV)/dev.stamp  ## the laws on the real data sets under VIEWKIN_DATA
	$(BIN)/pytest -m data

fuzz: $(VENV)/dev.stamp  ## damage 5,000 files and read them (CASES=number, or CASE=number for one): 5 minutes
	OMP_NUM_THREADS=1 PYTHONPATH=src:tests $(BIN)/python -m fuzz $(if $(CASE),--case $(CASE),--cases $(or $(CASES),5000))

same: $(VENV)/dev.stamp  ## show that no number moved since another commit (AGAINST=commit): 5 minutes
	$(BIN)/python scripts/same_numbers.py --against $(or $(AGAINST),HEAD~1)

BENCH := OMP_NUM_THREADS=$$(nproc) PYTHONPATH=src $(BIN)/python benchmarks

$(VENV)/bench.stamp: $(VENV)/dev.stamp
	$(PIP) install -c constraints.txt faiss-cpu matplotlib
	-$(PIP) install --no-deps lightly==1.6.0 lightly_utils aenum
	-$(PIP) install -c constraints.txt stable-pretraining==0.1.8
	@touch $@

bench: $(VENV)/bench.stamp  ## measure speed beside peers and floors on an idle machine, 40 minutes: results/benchmarks
	$(BENCH)/start.py
	$(BENCH)/train_step.py --width 16 --batch 256 --repeats 3 --steps 3 --seconds 1.5 \
	  --method simclr moco moco-split interclr-moco propagation-moco npid invp iraug eir
	$(BENCH)/train_step.py --method simclr moco npid --width 64 --batch 128 --repeats 3 --steps 6 --seconds 0 \
	  --out results/benchmarks/train_step_64.json
	$(BENCH)/interclr.py --repeats 3 --exact
	$(BENCH)/growth.py --repeats 3
	$(BENCH)/clusters.py --repeats 2
	$(BENCH)/knn.py
	$(BENCH)/knn.py --repeats 2 --reference 100000 --dim 512 --memory 64 --only ours faiss --out results/benchmarks/knn_large.json
	$(BENCH)/decode.py --images 400
	$(BENCH)/page.py

bench-parent: $(VENV)/dev.stamp  ## compare the speed of a step with the parent commit's (AGAINST=commit)
	$(BENCH)/parent.py --against $(or $(AGAINST),HEAD~1)

docs: $(VENV)/dev.stamp  ## build the documentation site into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(VENV)/dev.stamp  ## show the documentation site on this machine
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

format: $(VENV)/dev.stamp  ## rewrite in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what these commands made, but no run
	rm -rf $(VENV) build .pytest_cache .ruff_cache .import_linter_cache src/*.egg-info
