# Every target makes its own virtual environment and installs what it needs.
#   make test                     all tests
#   PYTHON=python3.12 make test   the same on another Python
# .venv-<version> is reinstalled when setup.py changes.

# Version manager shims exist on PATH for Pythons that are not selected, so each candidate is run to see whether it works.
CANDIDATES := python3.11 python3.12 python3.13 python3.10 python3
PYTHON ?= $(shell for python in $(CANDIDATES); do \
	$$python -c 'import venv, ensurepip' 2>/dev/null && echo $$python && break; done)
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV := .venv-$(VERSION)
INSTALLED := $(VENV)/.installed
DEMO_OUTPUT := demo_output
EXPERIMENTS_OUTPUT := experiments_output
BENCH_OUTPUT := bench_output
DECATHLON_OUTPUT := decathlon_output
PRESET ?= default

export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help install demo experiments decathlon bench test lint clean

help:
	@echo "make demo   whole pipeline on the phantom, ends by naming an HTML report ($(DEMO_OUTPUT)/)"
	@echo "make experiments   all experiments, small, on the phantom ($(EXPERIMENTS_OUTPUT)/)"
	@echo "make decathlon DATA=Task01_BrainTumour/ PRESET=default   models that may be published ($(DECATHLON_OUTPUT)/)"
	@echo "make bench  how fast it is, as ratios within one run ($(BENCH_OUTPUT)/)"
	@echo "make test   run the tests;  make lint   check style and format"
	@echo "make clean  remove the virtual environments"
	@echo "Python: $(PYTHON) $(VERSION); choose another with PYTHON=python3.12 make ..."

install: $(INSTALLED)

$(INSTALLED): setup.py
	@test -n "$(VERSION)" || { echo "'$(PYTHON)' does not run. Name a Python 3.10 to 3.13: PYTHON=python3.11 make $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# The pip that comes with Python 3.10 and 3.11 backtracks through these requirements for minutes.
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --editable '.[tests]'
	@touch $@

demo: $(INSTALLED)
	$(VENV)/bin/python -m mmsynth_tf.demo --workdir=$(DEMO_OUTPUT)

experiments: $(INSTALLED)
	$(VENV)/bin/python -m mmsynth_tf.demo.experiments --workdir=$(EXPERIMENTS_OUTPUT)

# FLAGS takes further settings, such as FLAGS=--config.joint.steps=500.
decathlon: $(INSTALLED)
	@test -n "$(DATA)" || { echo "Name the folder Task01_BrainTumour: make decathlon DATA=Task01_BrainTumour/ PRESET=$(PRESET)" >&2; exit 1; }
	$(VENV)/bin/python -m mmsynth_tf.demo.decathlon --data="$(DATA)" --preset=$(PRESET) --workdir=$(DECATHLON_OUTPUT) $(FLAGS)

bench: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks --output=$(BENCH_OUTPUT)

test: $(INSTALLED)
	@# Most of the time goes to tracing, which uses one core: a worker a core.
	$(VENV)/bin/python -m pytest --numprocesses=2 --dist=worksteal

lint: $(INSTALLED)
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .

clean:
	rm -rf .venv-3.*
