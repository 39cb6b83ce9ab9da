# `make demo` and `make test` are each all that a fresh clone needs.
VENV := .venv
PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
# One OpenMP thread per process: several processes share the machine, and more threads slow all of them.
export OMP_NUM_THREADS := 1

.PHONY: demo test lint types imports pytest chaos soak bench bench-peers install seed-model clean

demo: $(INSTALLED)
	$(VENV)/bin/cortex demo

test: lint types imports pytest

install: $(INSTALLED)

# torch first and pinned: the export of the encoder is made and measured with this one.
$(INSTALLED): pyproject.toml
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

lint: $(INSTALLED)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

types: $(INSTALLED)
	$(VENV)/bin/mypy

imports: $(INSTALLED)
	$(VENV)/bin/lint-imports

# Fault tests mostly wait, so more of them run at once than there are cores.
pytest: $(INSTALLED) .servers/.installed
	$(PYTHON) -m pytest --numprocesses 4

# The whole fault matrix, then the simulation; a seed is printed, SEED=N plays it again.
chaos: $(INSTALLED) .servers/.installed
	$(PYTHON) -m chaos $(if $(SEED),--seed $(SEED))
	$(PYTHON) -m chaos.simulation --seeds 5000

soak: $(INSTALLED)
	$(PYTHON) -m chaos.soak --minutes 30 $(if $(SEED),--seed $(SEED))

# The model that is shipped, from learning/seed/examples.jsonl; commit what it writes.
seed-model: $(INSTALLED)
	$(PYTHON) -m learning.seed_model

# Further servers to test against, as far as they can be had.
.servers/.installed: deploy/test-servers.sh | $(INSTALLED)
	mkdir -p .servers
	deploy/test-servers.sh $(PYTHON)
	touch $@

bench: $(INSTALLED)
	$(PYTHON) -m bench.run

bench-peers: $(INSTALLED) .venv-peers/.installed
	$(PYTHON) -m bench.throughput --peers

.venv-peers/.installed: bench/peers/requirements.txt
	python3 -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

clean:
	rm -rf $(VENV) .venv-peers .servers .mypy_cache .ruff_cache .pytest_cache .hypothesis
