# The two commands:  make run   make test
# They need Linux on x86_64 with glibc 2.35 or newer, Python 3.11 or newer, git and make; the rest they get themselves.

PYTHON ?= python3
UV_VERSION = 0.13.8
BIN = .venv/bin
READY = .venv/.ready
APT = DEBIAN_FRONTEND=noninteractive apt-get

.PHONY: run test soak bench setup lint lock system browser strace
.DEFAULT_GOAL := run

# exec: Ctrl-C and SIGTERM must reach keyframe itself.
run: setup
	@export KEYFRAME_SAMPLE__SIGN_IN="$${KEYFRAME_SAMPLE__SIGN_IN:-true}"; exec $(BIN)/keyframe up

test: lint browser strace
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --timeout 180
	@$(BIN)/python tests/real_data.py

# 200 kills at random moments under load, then every pair of a step and an error: each as far as it comes in so many
# seconds.
SECONDS ?= 600
soak: setup
	SOAK_SECONDS=$(SECONDS) $(BIN)/pytest -s -q tests/soak/soak_kills.py tests/soak/soak_errors.py

# Ours and what a user would pick instead, in the same run; writes docs/performance.md. Takes an hour and 40 GB.
bench: setup
	@command -v rsync >/dev/null || [ "$$(id -u)" != 0 ] || { $(APT) update -qq && $(APT) install -y -qq rsync >/dev/null; }
	$(BIN)/python benchmarks/run.py

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy control

setup: $(READY)

# Costs nothing while neither the lock file nor the project's own file changed. Stopped half-way it begins again.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Keyframe needs Python 3.11 or newer; name it with: make PYTHON=python3.x"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, ctypes; ctypes.CDLL("libcurl.so.4")' 2>/dev/null || $(MAKE) --no-print-directory system
	@echo "Setting up .venv"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet uv==$(UV_VERSION) || echo "uv cannot be had; pip does it, which takes longer."
	@if [ -x $(BIN)/uv ]; \
	then $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock; \
	else $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock; fi
	@$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

# Python's venv module, and the library that the embedded mongod needs.
system:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	then $(APT) update -qq && $(APT) install -y -qq python3-venv libcurl4 >/dev/null; \
	else echo "Something is missing on this machine. Run as root: apt-get install python3-venv libcurl4"; exit 1; fi

# Debian's Chromium, for the browser tests.
browser:
	@if command -v chromium >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	then $(APT) update -qq && $(APT) install -y -qq chromium >/dev/null; fi; \
	if command -v chromium >/dev/null; then exit 0; fi; \
	if [ -n "$$CI" ]; then echo "chromium is missing, and CI must not skip the browser tests."; exit 1; fi; \
	echo "chromium is missing: the browser tests will be skipped. To have them, run as root: apt-get install chromium"

# For the tests of power cuts, which record what the disk is asked for.
strace:
	@if command -v strace >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	then $(APT) update -qq && $(APT) install -y -qq strace >/dev/null; fi; \
	if command -v strace >/dev/null; then exit 0; fi; \
	if [ -n "$$CI" ]; then echo "strace is missing, and CI must not skip the tests of power cuts."; exit 1; fi; \
	echo "strace is missing: the tests of power cuts will be skipped. To have them, run as root: apt-get install strace"

# After a change of requirements.in or requirements-dev.in.
lock: setup
	$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --universal --python-version 3.11 \
	  --custom-compile-command "make lock" requirements.in requirements-dev.in -o requirements.lock
