# `make demo` runs the study in miniature, `make test` tests the project, `make benchmark` shows how
# fast training is on this machine. All set up .venv from requirements.lock first. CORES=N limits the
# cores that the demo takes (default: all).

PYTHON ?= python3
CORES ?= all
VENV := .venv
ACTIVATE := . $(VENV)/bin/activate

.PHONY: demo test benchmark environment clean

demo: environment
	$(ACTIVATE) && python scripts/warm.py snakemake --cores $(CORES)

test: environment
	$(ACTIVATE) && ruff check . && ruff format --check . && snakefmt --check workflow
	$(ACTIVATE) && python tests/run.py

benchmark: environment
	$(ACTIVATE) && python benchmarks/run.py

environment: $(VENV)/installed

# uv takes the CUDA builds of torch and torchvision that fit each other, in under a minute.
$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] < (3, 13) else "Python 3.11 or 3.12 is needed; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip sync --quiet requirements.lock
	VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet --no-deps --editable .
	touch $@

clean:
	rm -rf $(VENV) results/[!R]* .snakemake logs
