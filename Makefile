# `make demo` and `make test` are all a newcomer types; each makes the environment when it is absent.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
JOBS   ?= 2

.PHONY: demo test check lint types layers format bench methods clean

demo: $(READY)  ## train, distil, export, rewrite, quantize and measure a digit classifier
	$(BIN)/deploycompress run models/digits/recipe.yaml

test: $(READY)  ## the whole test suite
	$(BIN)/pytest -n $(JOBS)

check: lint types layers  ## what CI runs before the tests

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

layers: $(READY)
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## the figures of docs/results.md (needs the shared models and data)
	$(BIN)/python -m pip install --quiet -e '.[bench]' -c constraints.txt
	for name in weight_only classifiers saturation calibration ranges doctor encoders encoder_int8 minilm conv_forms \
			convnets_int8 conv_methods all_models optimize_time optimize_table coverage \
			explain_sums verdicts; do \
		$(BIN)/python bench/$$name.py || exit 1; \
	done

methods: $(READY)  ## every check of the training methods (ARGS=--fast for a few), as in docs/methods/README.md
	$(BIN)/python -m bench.methods.run $(ARGS)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	@touch $@

clean:
	rm -rf build $(VENV)
