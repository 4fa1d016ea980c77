.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FUZZ_S ?= 60
EDGE_BENCHES := edge edge_budget edge_latency edge_tls edge_memory edge_swap edge_hostile edge_steady forms
BENCH ?=
FLEET := $(VENV)/fleet.jsonl
# Three at a time: most of them wait for real processes more than they compute.
ON_TWO_CORES := -n 3 --dist loadfile --no-loadscope-reorder
STAMP := $(VENV)/.setup-done

.PHONY: help setup demo test lint types format coverage bench slow fleet clients rollout docs wheelhouse deb soak fuzz lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP) ## prepare .venv with everything
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once; a minute or so)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[manager,dev]'
	@touch $@

lint: setup ## ruff, format and the arrows between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup ## mypy --strict
	$(BIN)/mypy

format: setup ## let ruff put things in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: setup lint types ## everything a change must pass
	$(BIN)/pytest $(ON_TWO_CORES)

slow: setup ## the tests that take half a minute or more each (10 minutes)
	HELIOSTAT_SLOW=all $(BIN)/pytest $(ON_TWO_CORES)

coverage: setup ## the same tests, and the share of lines and branches they reach
	$(BIN)/coverage erase
	$(BIN)/pytest $(ON_TWO_CORES) --cov --cov-report=
	@echo "covered: $$($(BIN)/coverage report --format=total) % of lines and branches"

bench: setup ## figures beside a peer's, in the same run (BENCH=--quick for a short look)
	@failed=; for name in $(EDGE_BENCHES); do \
	  echo "== $$name"; $(BIN)/python bench/$$name.py $(BENCH) || failed="$$failed $$name"; done; \
	test -z "$$failed" || echo "not reached, or not run:$$failed"
	$(BIN)/python bench/watch.py
	$(BIN)/python bench/geo.py
	$(BIN)/python bench/catalog.py
	$(BIN)/python bench/scan.py
	$(BIN)/python bench/truth.py

soak: setup ## kill -9 of edge, manager and publisher under load, and an emptied edge at 3M x 500 (15 minutes)
	$(BIN)/python bench/soak.py 120
	$(BIN)/python bench/soak_planes.py --kills 200
	$(BIN)/python bench/fill.py

fleet: setup ## two edges, manager, DNS, mirrors in namespaces, broken one by one (needs root; 15 minutes)
	rm -f $(FLEET)
	HELIOSTAT_FLEET=all HELIOSTAT_FLEET_REPORT=$(FLEET) $(BIN)/pytest -q --timeout 400 tests/fleet; \
	  status=$$?; $(BIN)/python -m tests.fleet.report $(FLEET) docs/explanation/fleet-report.md; exit $$status

clients: setup ## curl, apt, dnf, zypper, pacman, torrents over mirrors that die, lie and lag (5 minutes)
	HELIOSTAT_CLIENTS=all $(BIN)/pytest -q --timeout 180 tests/clients

rollout: setup ## the whole fleet rolled out by Ansible to booted Debian 12 machines, upgraded, broken, restored (needs root; 20 minutes)
	HELIOSTAT_ROLLOUT=all $(BIN)/pytest -v --timeout 1800 tests/rollout

docs: setup ## the documentation as a site, into dist/site
	$(BIN)/mkdocs build --quiet --strict

wheelhouse: setup ## every wheel that a rollout installs, with its hash, into dist/wheelhouse
	$(BIN)/python tools/make_wheelhouse.py

deb: wheelhouse ## the Debian package, from that wheelhouse, into dist (4 minutes)
	$(BIN)/python -m tools.deb.make_deb

fuzz: setup ## every parser of strangers' bytes, a minute each (FUZZ_S=60)
	@for target in $$($(BIN)/python -c 'from tests.fuzz.targets import TARGETS; print(*TARGETS)'); do \
	  echo "== $$target"; \
	  $(BIN)/python -m tests.fuzz $$target -max_total_time=$(FUZZ_S) -print_final_stats=1 || exit 1; done

demo: setup ## the main job on this machine (ARGS=--once to stop after the table)
	$(BIN)/heliostat demo $(ARGS)

lock: ## write constraints.txt anew from what .venv has
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools | sort -f > constraints.txt

clean: ## remove what setup and the tests made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache htmlcov .coverage*
