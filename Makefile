# Where torch is already installed (a GPU machine, say) the environment is built on the system's packages and keeps
# that torch; elsewhere constraints.txt takes the small CPU build.
PYTHON ?= python3
BIN := .venv/bin

# If PYTHON is itself in a virtual environment, its packages are not the system's: a .pth file names their folder.
export WHERE_TORCH_IS := import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])
export PACKAGES := import sysconfig; print(sysconfig.get_path('purelib'))

.PHONY: install demo test slow lint docs rehearse-gpu clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt constraints-notorch.txt
	@if $(PYTHON) -c 'import torch' 2>/dev/null; then \
	  echo 'torch is there already: keeping it'; \
	  $(PYTHON) -m venv --system-site-packages .venv && \
	  $(PYTHON) -c "$$WHERE_TORCH_IS" > "$$($(BIN)/python -c "$$PACKAGES")/torch-of-this-machine.pth" && \
	  $(BIN)/python -m pip install -q -c constraints-notorch.txt -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'; \
	fi
	@touch .venv/installed

demo: install
	$(BIN)/advdpnp demo

test: install
	$(BIN)/python -m pytest -n 2

slow: install
	$(BIN)/python -m pytest -m slow -n 2

lint: install
	$(BIN)/ruff check src tests examples scripts benchmarks docs
	$(BIN)/ruff format --check src tests examples scripts benchmarks docs
	$(BIN)/mypy

# The documentation as a site that works without the network: open site/index.html.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The site is at $(CURDIR)/site/index.html"

# Everything that would run on a GPU that one has for a limited time, tiny and on a CPU.
rehearse-gpu: install
	$(BIN)/python scripts/gpu_slot.py rehearse

clean:
	rm -rf .venv demo-runs report site
