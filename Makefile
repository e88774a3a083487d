# Two commands on a fresh machine: `make demo` and `make test`. Each sets itself up.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.locked
WORKERS ?= auto

.PHONY: demo test check serve bench setup browser format clean

demo: setup
	$(BIN)/python examples/demo.py

test: setup browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

check: setup browser
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

serve: setup
	$(BIN)/robustcert serve

bench: setup
	$(BIN)/python benchmarks/evaluate.py

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(STAMP)

# torch first and by its exact version (other requests pull gigabytes of CUDA), with
# its own dependencies held to the lock file; then the rest without any resolution, so
# that torchattacks comes without its stale pins.
$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

# The browser tests use the system's chromium. Where it can neither be found nor
# installed, they are skipped and say so.
browser:
	@command -v chromium >/dev/null || ( \
		test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null \
	) || echo "chromium is not installed: the browser tests will be skipped"

clean:
	rm -rf $(VENV) dist demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
