# make          .venv/bin/hotplugd, from the pinned requirements
# make demo     a private LXD, real devices, measured: in under a minute
# make demo-phones   virtual phones, and adb in containers: in a virtual machine, or with HOST=1 here
# make unit     the tests that need neither root nor a server
# make pythons  the same with every Python from 3.11 on that is in the path
# make test     all tests; root is needed for those with real devices. SERVER=incus7 runs those with a server
#               with another one, in a root of Debian's packages (tests/servers/table.py); TESTS="PATH…" some
# make matrix   all native tests with every server, for the table of support; hours. ONLY="incus7 links" for some
# make e2e      the cases with real USB, in a virtual machine; CASES="plain" for one group of them,
#               AT_ONCE=2 CASES="plain hardware" for two at once
# make bench    what it costs, beside others; FIGURES="live storm" for some of it
# make soak     ten thousand plugs, with crashes and people in between: 20 minutes at most; and a farm's day
#               of two thousand events
# make fuzz     a million hostile cases
# make mutants  changes the code, and sees whether the tests notice: hours. SEED=1 COUNT=50 tries so many of
#               each package, by chance, of those that decide
# make coverage what the tests reach
# make docs     the documentation as HTML in build/html, with warnings as errors
# make screenshot   the picture of the page in docs/how-to/page.md, with chromium
# make deb      the Debian package, in dist/, looked at by lintian; VERSION=… for another one than the tag says
# make generate the pages, and the JSON Schemas, that are made from the code
# make release  VERSION=1.2.3: changelog, version, commit, tag, notes, package and wheel; DRY_RUN=1 shows the notes
# make check    style, types, layers, the example rules and configuration
# make lock     resolve the requirements again (needs the network)
# make clean    away with everything that was made here
#
# What is missing on Debian is installed, and nothing else; the second time nothing happens.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps

# The newest that works here: it must be able to make virtual environments.
PYTHON = $$(for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& command -v "$$python" && break; done || true)

# To build: systemd-python comes as source. To test and show: real servers and real devices, nothing else.
# udev and systemd are used through their programs; neither becomes the machine's init.
BUILD_PACKAGES := python3-venv python3-dev gcc pkg-config libsystemd-dev
LAB_PACKAGES := lxd lxd-client udev libudev1 libusb-1.0-0 busybox-static umockdev kmod iproute2 systemd util-linux openssl \
  chromium chromium-driver fonts-dejavu-core

# The virtual machine is made of Debian's packages too; the disk of a reboot is formatted here.
VM_PACKAGES := qemu-system-x86 mmdebstrap squashfs-tools zstd kmod busybox-static e2fsprogs util-linux

# What containers of this host show of phones on its own bus.
PHONE_PACKAGES := adb fastboot

# $(call packages,NAMES): installs what is missing of them.
# Debian's lxd would start, as a socket at least, on a machine that is run by systemd: not ours to decide.
# So services of a package that is new here are neither started (policy-rc.d) nor enabled.
define packages
	if ! command -v dpkg-query >/dev/null; then \
	  echo "make: this is no Debian; install what these Debian packages have: $(1)" >&2; exit 0; fi; \
	missing=(); \
	for name in $(1); do \
	  [[ $$(dpkg-query -W -f='$${Status}' "$$name" 2>/dev/null) == *"ok installed" ]] || missing+=("$$name"); \
	done; \
	if (( $${#missing[@]} == 0 )); then exit 0; fi; \
	if (( $$(id -u) != 0 )); then \
	  echo "make: expected these Debian packages, and they are not installed: $${missing[*]}" >&2; \
	  echo "      as root: apt-get install --no-install-recommends $${missing[*]}" >&2; exit 1; fi; \
	policy=/usr/sbin/policy-rc.d; \
	if [[ ! -e $$policy ]]; then \
	  trap 'rm -f /usr/sbin/policy-rc.d' EXIT; \
	  printf '#!/bin/sh\nexit 101\n' > $$policy; chmod 0755 $$policy; fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -q update; \
	apt-get -q -y install --no-install-recommends "$${missing[@]}"; \
	if [[ -d /run/systemd/system && " $${missing[*]} " == *" lxd "* ]]; then \
	  systemctl --quiet disable lxd.socket lxd.service lxd-containers.service; fi
endef

# What another server and its tests run in is made of Debian's packages.
SERVER := lxd
ROOT_PACKAGES := mmdebstrap util-linux

# The package, and what looks at it. Another way to install, which the tests of packages try, is pipx.
DEB_PACKAGES := debhelper dpkg-dev lintian man-db
PACKAGE_TEST_PACKAGES := $(ROOT_PACKAGES) pipx

.PHONY: deb packages generate release all lab vm servers docs screenshot unit pythons test matrix demo demo-phones e2e bench soak fuzz mutants coverage check lock clean

all: $(BIN)/hotplugd

$(VENV)/bin/python:
	@$(call packages,$(BUILD_PACKAGES))
	@python=$(PYTHON); \
	if [[ -z $$python ]]; then \
	  echo "make: expected Python 3.11 or newer with venv, and found none" >&2; exit 1; fi; \
	"$$python" -m venv $(VENV)

# With hashes: what is installed is what was locked, whichever index it comes from. setuptools and wheel
# go first, since systemd-python is built with them and not with whatever is newest.
$(STAMPS)/requirements: requirements-dev.lock | $(VENV)/bin/python
	@mkdir -p $(STAMPS)
	@awk '/^[a-z]/ { wanted = /^(setuptools|wheel|packaging)==/ } wanted' $< > $(STAMPS)/build.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $(STAMPS)/build.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-build-isolation -r $<
	@touch $@

$(BIN)/hotplugd: pyproject.toml hotplugd/__init__.py $(STAMPS)/requirements
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(STAMPS)/lab: Makefile | $(BIN)/hotplugd
	@$(call packages,$(LAB_PACKAGES))
	@touch $@

# Of Debian's package, without the server that is in it.
$(BIN)/promtool: | $(STAMPS)/lab
	@mkdir -p build/promtool
	@cd build/promtool && { apt-get -q -q download prometheus || { apt-get -q -q update && apt-get -q -q download prometheus; }; }
	@cd build/promtool && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool > promtool
	@install build/promtool/promtool $@ && rm -r build/promtool

lab: $(BIN)/hotplugd $(STAMPS)/lab $(BIN)/promtool

$(STAMPS)/servers: Makefile | $(BIN)/hotplugd
	@$(call packages,$(ROOT_PACKAGES))
	@touch $@

servers: $(STAMPS)/servers

$(STAMPS)/deb: Makefile | $(BIN)/hotplugd
	@$(call packages,$(DEB_PACKAGES))
	@touch $@

deb: $(STAMPS)/deb
	@$(BIN)/python packaging/deb.py $(if $(VERSION),--version=$(VERSION))

$(STAMPS)/packages: Makefile | $(STAMPS)/deb
	@$(call packages,$(PACKAGE_TEST_PACKAGES))
	@touch $@

packages: $(STAMPS)/packages

# Two processes run tests at once; WORKERS= for one. A test marked `alone` has the machine to itself all the same.
WORKERS := --numprocesses=2 --dist=worksteal

unit: $(BIN)/hotplugd
	@$(BIN)/python -m pytest -W error $(WORKERS) tests/unit

# Each in an environment of its own, from the same lock.
pythons: $(BIN)/hotplugd
	@tried=(); for python in python3.11 python3.12 python3.13 python3.14; do \
	"$$python" -c 'import venv, ensurepip' 2>/dev/null || continue; \
	tried+=("$$python"); echo "make: $$python"; \
	$(MAKE) --no-print-directory VENV="build/pythons/$$python" PYTHON="$$python" unit; done; \
	echo "make: tests/unit passed with $${tried[*]:-no Python: none was found}"

test: $(if $(filter lxd,$(SERVER)),lab packages,servers)
	@$(BIN)/python -m $(if $(filter lxd,$(SERVER)),pytest -W error,tests.servers $(SERVER)) $(WORKERS) $(TESTS)

# The table of docs/explanation/support.md is made from what is written down as it runs.
matrix: lab servers
	@$(BIN)/python -m tests.servers.matrix $(ONLY); code=$$?; $(BIN)/python docs/generate.py; exit $$code

demo: lab
	@$(BIN)/python -m tests.demo

$(STAMPS)/phones: Makefile | $(STAMPS)/lab
	@$(call packages,$(PHONE_PACKAGES))
	@touch $@

demo-phones: $(if $(HOST),lab $(STAMPS)/phones,vm)
	@$(BIN)/python -m $(if $(HOST),tests.demo_phones,tests.vm.show)

$(STAMPS)/vm: Makefile | $(BIN)/hotplugd
	@$(call packages,$(VM_PACKAGES))
	@touch $@

vm: $(STAMPS)/vm

# labgrid in an environment of its own: it wants other versions of what we have.
$(STAMPS)/labgrid: requirements-bench.lock | $(BIN)/hotplugd
	"$(VENV)/bin/python" -m venv build/labgrid
	build/labgrid/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

e2e: vm
	@$(BIN)/python -m tests.vm $(if $(AT_ONCE),--at-once=$(AT_ONCE)) $(CASES)

bench: lab $(STAMPS)/labgrid
	@$(BIN)/python -m benchmarks $(FIGURES)

soak: lab
	@$(BIN)/python -m tests.soak
	@$(BIN)/python -m tests.farm

fuzz: $(BIN)/hotplugd
	@$(BIN)/python -m tests.fuzz

# Those that were tried before are not tried again.
mutants: $(BIN)/hotplugd
ifdef SEED
	@[[ -e mutants/mutmut-stats.json ]] || nice -n 19 $(BIN)/mutmut run 'hotplugd.plan.change.*' || true
	@nice -n 19 timeout --foreground 4h $(BIN)/mutmut run --max-children 1 \
	$$($(BIN)/python -m tests.mutants --sample $(SEED) $(or $(COUNT),50) --names) || true
	@$(BIN)/python -m tests.mutants --sample $(SEED) $(or $(COUNT),50)
else
	@nice -n 10 timeout --foreground 4h $(BIN)/mutmut run $(if $(ONLY),'$(ONLY)') || true
	@$(BIN)/python -m tests.mutants $(if $(ONLY),'$(ONLY)')
endif

# For information: no line is a goal. Tests that measure time may fail while they are watched.
coverage: lab
	@mkdir -p build
	@$(BIN)/coverage run -m pytest -W error $(TESTS) || true
	@$(BIN)/coverage combine -q && $(BIN)/coverage report --skip-empty

check: $(BIN)/hotplugd
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hotplugd check rules
	$(BIN)/hotplugd check --config config.example.yaml

# DRY_RUN=1 changes nothing. What is tagged is built then.
release: check docs
	@$(BIN)/python packaging/release.py $(VERSION) $(if $(DRY_RUN),--dry-run)
	@$(if $(DRY_RUN),,$(MAKE) --no-print-directory deb VERSION=)
	@$(if $(DRY_RUN),,$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w dist .)

# What is made from the code; tests see that it is current.
generate: $(BIN)/hotplugd
	@$(BIN)/python -m hotplugd.rulefile.reference > docs/reference/rules.md
	@$(BIN)/python -m hotplugd.rulefile.json_schema > hotplugd/rulefile/rules.schema.json
	@$(BIN)/python -m hotplugd.app.config_schema > hotplugd/app/config.schema.json
	@$(BIN)/python -m hotplugd.hooks.schema > hotplugd/hooks/hooks.schema.json
	@$(BIN)/python docs/generate.py

docs: $(BIN)/hotplugd
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/html

# Of forty made-up phones.
screenshot: lab
	@$(BIN)/python -m tests.page.screenshot docs/how-to/page.webp

# From the public index alone, so that the hashes are everybody's; for every Python that the project runs with.
lock: $(VENV)/bin/python
	@mkdir -p build
	@$(BIN)/python -c 'import tomllib; all = tomllib.load(open("pyproject.toml", "rb")); \
	print("\n".join(all["project"]["dependencies"] + all["build-system"]["requires"] + ["wheel"]))' \
	> build/requirements.in
	@$(BIN)/python -c 'import tomllib; all = tomllib.load(open("pyproject.toml", "rb")); \
	print("\n".join(["-r requirements.in"] + all["dependency-groups"]["dev"]))' > build/requirements-dev.in
	@$(BIN)/python -c 'import tomllib; all = tomllib.load(open("pyproject.toml", "rb")); \
	print("\n".join(all["dependency-groups"]["bench"]))' > build/requirements-bench.in
	@[[ -x build/lock/bin/uv ]] || { $(BIN)/python -m venv build/lock && build/lock/bin/pip install -q uv; }
	@cd build && for name in requirements requirements-dev requirements-bench; do \
	env -u UV_INDEX -u UV_DEFAULT_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS \
	lock/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 --upgrade --generate-hashes \
	--no-annotate --custom-compile-command "make lock" --output-file ../$$name.lock $$name.in; done

clean:
	rm -rf $(VENV) build dist mutants *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
