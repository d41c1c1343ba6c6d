# Where torch is already installed (a GPU machine, say) the environment is built on the system's packages and keeps
# that torch; elsewhere constraints.txt takes the small CPU build.
PYTHON ?= python3
BIN := .venv/bin
LINTED := src tests examples scripts benchmarks docs .ci

# If PYTHON is itself in a virtual environment, its packages are not the system's: a .pth file names their folder.
export WHERE_TORCH_IS := import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])
export NEW_ENOUGH := import sys; sys.version_info >= (3, 11) or sys.exit(f'advdpnp needs Python 3.11 or newer; got {sys.version.split()[0]} as $(PYTHON): make install PYTHON=python3.12')
# Hundreds of processes of the tests import the same files: what is compiled once is stored.
unexport PYTHONDONTWRITEBYTECODE
export PACKAGES := import sysconfig; print(sysconfig.get_path('purelib'))

# What the environment of the benchmark takes from .venv: its packages, and what its own .pth files name.
export AS_SITE := import sysconfig; print(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})")

.PHONY: install demo test slow lint wheel docs report bench catalog rehearse-gpu clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt constraints-notorch.txt
	@$(PYTHON) -c "$$NEW_ENOUGH"
	@if $(PYTHON) -c 'import torch' 2>/dev/null; then \
	  echo '1/2 making the environment .venv with $(PYTHON), which has torch already: keeping that'; \
	  $(PYTHON) -m venv --system-site-packages .venv && \
	  $(PYTHON) -c "$$WHERE_TORCH_IS" > "$$($(BIN)/python -c "$$PACKAGES")/torch-of-this-machine.pth" && \
	  echo '2/2 installing what else is needed into .venv' && \
	  $(BIN)/python -m pip install -c constraints-notorch.txt -e '.[dev]'; \
	else \
	  echo '1/2 making the environment .venv with $(PYTHON)'; \
	  $(PYTHON) -m venv .venv && \
	  echo '2/2 installing torch and some 140 other packages into .venv, 1.9 GB on disk: some minutes' && \
	  $(BIN)/python -m pip install -c constraints.txt -e '.[dev]'; \
	fi
	@touch .venv/installed
	@echo 'installed: .venv/bin/advdpnp, or: source .venv/bin/activate'

demo: install
	$(BIN)/advdpnp demo

test: install
	$(BIN)/python -m slipcover -m pytest -n 2 --dist worksteal
	@$(BIN)/python .ci/coverage.py

slow: install
	$(BIN)/python -m pytest -m slow -n 2 --dist worksteal --durations 15

lint: install
	$(BIN)/ruff check $(LINTED)
	$(BIN)/ruff format --check $(LINTED)
	$(BIN)/mypy
	@if [ -e .git ]; then $(BIN)/python .ci/titles.py; fi

# dist/ gets the sdist and the wheel, and a fresh environment with the versions of constraints.txt tries the wheel and
# runs its demo, whose page goes to report/.
wheel: install
	PYTHON='$(PYTHON)' .ci/wheel

# The documentation as a site that works without the network: open site/index.html.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The site is at $(CURDIR)/site/index.html"

# The stored results as a site: a report for each folder of results/, and what of the paper is reproduced.
report: install
	$(BIN)/python scripts/report_results.py results --out report/results

# Speed beside other libraries, with floors: make bench ARGS=--ci takes minutes instead of hours. They are in an environment
# of their own, which sees the packages of .venv, its torch among them.
bench: .bench-venv/installed
	OMP_NUM_THREADS=1 PYTHONPATH=benchmarks:tests .bench-venv/bin/python -W ignore -m peers $(ARGS)

.bench-venv/installed: benchmarks/peers/requirements.txt .venv/installed
	$(BIN)/python -m venv .bench-venv
	$(BIN)/python -c "$$AS_SITE" > "$$(.bench-venv/bin/python -c "$$PACKAGES")/packages-of-the-project.pth"
	.bench-venv/bin/python -m pip install --no-deps -r benchmarks/peers/requirements.txt
	@touch .bench-venv/installed

# The index of names that `advdpnp list` shows, after a registry or a description was changed.
catalog: install
	$(BIN)/python scripts/write_catalog.py

# Everything that would run on a GPU that one has for a limited time, tiny and on a CPU.
rehearse-gpu: install
	$(BIN)/python scripts/gpu_slot.py rehearse

clean:
	rm -rf .venv .bench-venv coverage.json demo-runs dist report site
