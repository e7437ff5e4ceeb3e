# make help lists the targets; the text behind ## is the help.
PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
# Where torch comes from: empty = the usual index; https://download.pytorch.org/whl/cpu = CPU only; .../whl/cu130 = CUDA 13
TORCH_INDEX ?=
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup train test lint pair clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.installed  ## install everything into .venv (a second call does nothing)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gold_style needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(if $(TORCH_INDEX),$(RUN) -m pip install --quiet --index-url $(TORCH_INDEX) -c constraints.txt torch)
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

train: setup  ## distil the embedded pair; make train ARGS="seed=1 loss.beta=0.5" passes overrides
	$(RUN) train.py $(ARGS)

test: setup  ## all tests but those in a browser
	$(RUN) -m pytest $(ARGS)

lint: setup  ## ruff
	$(RUN) -m ruff check .

pair: setup  ## build the embedded pair anew (under four minutes on two cores)
	$(RUN) -m gold_style.pairs.tiny $(ARGS)

clean:  ## remove the environment and caches; runs stay
	rm -rf $(VENV) .cache .pytest_cache .ruff_cache
