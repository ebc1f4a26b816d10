# make run    a fresh machine with only Python: installs into .venv, runs the main job, prints the report
# make test   the same, and runs formatter, linter, type checker and the whole test suite
# make train  trains the small model anew, into the package (8 minutes on an H100; an hour without a GPU, and worse)
#
# Variables: PYTHON (interpreter for .venv), RUN_ARGS (flags of the main job), TEST_ARGS (arguments of pytest),
# TRAIN_ARGS (flags of the training).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# Four operations of four families and sixteen candidates each: minutes on two cores. The limit is for slower machines.
RUN_ARGS  ?= --operations relu,add,softmax,layer_norm --candidates-per-op 16 --max-minutes 5
# Two workers: what the smallest CI machine has. A file stays in one worker: its fixtures start servers.
# Many tests drive real processes, on machines where others work too: what fails is run once more, and the summary
# names it (RERUN). What is broken fails twice.
TEST_ARGS ?= -n 2 --dist loadfile --reruns 1
# How long is decided by the device: models/kernel_lm/train.py.
TRAIN_ARGS ?= --seed 0
MODEL_DIR  := BackendBench/vllm_backend/generation/kernel_lm

.PHONY: run test train clean
.DELETE_ON_ERROR:

run: $(VENV)/installed
	$(BIN)/python scripts/run_vllm_prototype.py $(RUN_ARGS)

test: $(VENV)/installed-for-tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest $(TEST_ARGS)

train: $(VENV)/installed
	$(BIN)/python -m models.kernel_lm.train --out $(MODEL_DIR) $(TRAIN_ARGS)

# Editable: the code that runs is the checkout's, without installing again after each change.
$(VENV)/installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	sed 's/^\.$$/-e ./' requirements.txt > $(VENV)/requirements-editable.txt
	$(BIN)/pip install --disable-pip-version-check -q -r $(VENV)/requirements-editable.txt
	touch $@

$(VENV)/installed-for-tests: $(VENV)/installed
	$(BIN)/pip install --disable-pip-version-check -q -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
