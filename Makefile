# `make demo` runs the study in miniature, `make test` tests the project, `make check` what of it takes
# a minute. `make benchmark` shows how fast training is on this machine, `make gpu-check` checks a GPU
# in 25 minutes (ARGUMENTS=--tiny tries it on a CPU), `make reproduce` draws again what was published.
# All set up .venv from requirements.lock first. CORES=N limits the cores that the demo takes (default:
# all). LOCK=requirements-cuda12.lock is for NVIDIA drivers older than 580.

PYTHON ?= python3
CORES ?= all
VENV := .venv
INSTALLED := $(shell cat $(VENV)/installed 2>/dev/null)
LOCK ?= $(or $(INSTALLED),requirements.lock)
ACTIVATE := . $(VENV)/bin/activate

.PHONY: demo reproduce test check lint benchmark gpu-check environment another_lock clean

demo: environment
	$(ACTIVATE) && python scripts/warm.py snakemake --cores $(CORES)

reproduce: environment
	$(ACTIVATE) && python scripts/reproduce.py

test: lint
	$(ACTIVATE) && python tests/run.py

check: lint
	$(ACTIVATE) && python -m pytest --quiet tests/unit -m "not slow"

lint: environment
	$(ACTIVATE) && ruff check . && ruff format --check . && snakefmt --check workflow && mypy

gpu-check: environment
	$(ACTIVATE) && python benchmarks/gpu_check.py $(ARGUMENTS)

benchmark: environment
	$(ACTIVATE) && python benchmarks/run.py

environment: $(VENV)/installed

# uv takes the CUDA builds of torch and torchvision that fit each other, in under a minute. Bytecode is
# compiled here, for hundreds of jobs start Python, some sites let none of them write it, and others
# would all write it at once. The file says which lock it took; the environment stays with that one
# until another is named.
$(VENV)/installed: $(LOCK) pyproject.toml $(if $(filter $(INSTALLED),$(LOCK)),,another_lock)
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] < (3, 13) else "Python 3.11 or 3.12 is needed; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip sync --quiet --compile-bytecode $(LOCK)
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet --no-deps --editable .
	$(VENV)/bin/python -m compileall -q src
	echo $(LOCK) > $@

clean:
	rm -rf $(VENV) results/[!R]* .snakemake logs
