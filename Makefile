# Everything a new user types: `make demo` and `make test`. Both set up .venv first, once.
#
#   PYTHON=python3.11   the interpreter .venv is made of (default: the newest of 3.12, 3.11, 3.10 that runs)
#   PIP_ARGS="..."      added to `pip install`. PyPI's torch for Linux brings the CUDA libraries (5 GB); on a machine
#                       without a GPU, PIP_ARGS="--extra-index-url <CPU index, see pytorch.org>" takes 1 GB instead.
#   ARGS="-k harness"   added to pytest, which runs in as many processes as there are cores; ARGS="-n 0" is one process
#   VENV=.venv-other    another environment beside .venv

VENV = .venv
PY   := $(VENV)/bin/python

# Any Python can run the set-up scripts, which then look for one that suits. Not `python3` blindly: version managers
# put stand-ins on PATH that exist but fail when they are called.
BOOT = $(or $(shell for p in $(PYTHON) python3 python3.12 python3.11 python3.10 python; do \
	"$$p" -c 'import sys; assert sys.version_info >= (3, 8)' >/dev/null 2>&1 && echo "$$p" && break; done), \
	$(error Python 3.10, 3.11 or 3.12 is needed, and no Python was found. Install one, or say PYTHON=/path/to/python))

export VENV

.PHONY: help demo test test-full test-oldest bench install lint clean environment system ffmpeg

help:
	@echo 'make demo         images and clips on which concepts were found, opened in the App (APP=0: just the tables)'
	@echo 'make test         the tests; the first time, this also sees to a browser and ffmpeg'
	@echo 'make test-full    the tests that need a full-size checkpoint in memory'
	@echo 'make test-oldest  the tests against the oldest releases that requirements.txt admits'
	@echo 'make bench        what it costs here: all tables that need no GPU, a quarter of an hour'
	@echo 'make install      links this clone into FiftyOne: the plugin, and the zoo model'
	@echo 'make lint         ruff'
	@echo 'make clean        removes caches and build/ (to start over entirely, remove $(VENV) too)'

demo: environment ffmpeg
	@$(PY) -m emoji_world.demo

test: environment system
	@$(PY) -m scripts.tests $(ARGS)

test-full: environment
	@$(PY) -m pytest -m full $(ARGS)

test-oldest:
	@$(MAKE) --no-print-directory test VENV=.venv-oldest PIP_ARGS="-c requirements-oldest.txt $(PIP_ARGS)"

bench: environment
	@$(PY) -m benchmarks.cpu $(ARGS)

install: environment
	@$(PY) -m scripts.install

lint: environment
	@$(PY) -m ruff check .

clean:
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

environment:
	@$(BOOT) -m scripts.environment

system: environment
	@$(BOOT) -m scripts.system

ffmpeg: environment
	@$(BOOT) -m scripts.system ffmpeg
