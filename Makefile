# ztnode: everyday commands. `make help` lists them.

PREFIX ?= /usr/local
CARGO ?= cargo
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
# Seconds for every fuzz target in `make test`.
FUZZ_SECONDS ?= 2
# The same in `make audit`; those that lead through unsafe code get ten times as many.
AUDIT_SECONDS ?= 10
LAB_PACKAGES := iproute2 nftables iputils-ping curl tcpdump tshark procps jq

.PHONY: help root lab lab-shell lab-down requirements packages repo check-packages test-packages test-reproducible test-long test fmt clippy unit doc deny fuzz audit bench bench-lanes bench-micro bench-instructions floods recovery chaos install

help: ## This list
	@printf 'Usage: make TARGET\n\n'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-19s %s\n", $$1, $$2}'

root:
	@[ "$$(id -u)" = 0 ] || { echo 'Network namespaces need root: run it as root (sudo env "PATH=$$PATH" make …)'; exit 1; }

lab: root requirements ## The demo: clouds behind NATs on this machine (as root; KEEP=1 leaves it up, CLOUD_INIT=1 boots by user-data)
	$(CARGO) build --release --package node --package cli --package lab --bins
	$(TARGET)/release/ztlab tour $(if $(KEEP),--keep) $(if $(CLOUD_INIT),--cloud-init)

lab-shell: ## A shell in a host of a lab that was left up: CLOUD=aws
	@test -n "$(CLOUD)" || { echo 'Which one? make lab-shell CLOUD=aws'; exit 2; }
	@$(TARGET)/release/ztlab shell "$(CLOUD)"

lab-down: ## Remove the lab
	@$(TARGET)/release/ztlab down

requirements: ## Install the Debian packages that the other targets need, where they are absent
	@missing=; for package in $(LAB_PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then echo "These packages are missing, and installing them needs root:$$missing"; exit 1; fi; \
	echo "Installing$$missing"; \
	apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing

packages: LAB_PACKAGES := musl-tools jq
packages: requirements ## .deb, .rpm and tarball into target/packages
	@CARGO='$(CARGO)' packaging/build.sh

# Tools of the archive's own makers; GNUPGHOME says where gpg has the keys.
REPO_PACKAGES := apt-utils createrepo-c dpkg-dev gnupg rpm
repo: LAB_PACKAGES := $(REPO_PACKAGES) $(if $(PACKAGES),,musl-tools jq)
repo: requirements $(if $(PACKAGES),,packages) ## Signed repository for apt and dnf, with install.sh, as a static folder: DIR=… KEY=… URL=https://…
	@test -n "$(DIR)" -a -n "$(KEY)" || { echo 'Where to, and signed by whom? make repo DIR=… KEY=… URL=https://…'; exit 2; }
	@URL='$(URL)' PACKAGES='$(PACKAGES)' VALID='$(VALID)' packaging/repo/make.sh '$(DIR)' $(KEY)

# What is tried of the packages where none are built.
CHECK_PACKAGES := shellcheck jq curl iproute2 python3 python3-venv gpgv $(REPO_PACKAGES)
check-packages: LAB_PACKAGES := $(CHECK_PACKAGES)
check-packages: requirements ## What of the packages' tests needs no packages, under 3 min: scripts, schemas, install.sh (as root)
	@packaging/tests/check.sh

test-packages: LAB_PACKAGES := musl-tools debootstrap systemd-container zstd iproute2 jq curl openssl python3 python3-venv tcpdump gpgv podman runc netavark uidmap slirp4netns $(REPO_PACKAGES)
test-packages: root requirements packages ## Install, break and remove the packages in a booted Debian (as root)
	@packaging/tests/run.sh

test-reproducible: packages ## Build the packages again in another folder: the same bytes
	@packaging/tests/reproducible.sh

# The shells whose completions are tested.
test: LAB_PACKAGES += zsh fish $(CHECK_PACKAGES)
test: requirements fmt clippy unit doc deny fuzz check-packages ## Everything CI runs

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

unit:
	$(CARGO) build --workspace --bins --quiet
	@CARGO='$(CARGO)' .ci/tests

doc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --quiet

deny: ## Dependencies: licences, bans, sources, advisories (cargo-deny, installed if need be)
	@.ci/deny

fuzz: ## A short run of every fuzz target (FUZZ_SECONDS each)
	@fuzz/run.sh $(FUZZ_SECONDS)

# What the long forms need, all together.
test-long: LAB_PACKAGES += xz-utils
test-long: root requirements ## What takes too long for `make test` (hours, as root): LONG="interop packages" picks, ZEROTIER_ONE=… for interop
	@CARGO='$(CARGO)' .ci/long $(LONG)

audit: LAB_PACKAGES += xz-utils
audit: root requirements ## Sanitizers: longer fuzzing, os/ and dataplane (address), engine and lanes (thread); cargo-deny (as root, AUDIT_SECONDS a target)
	@.ci/audit $(AUDIT_SECONDS)

# What `ztbench` measures with, and with PEERS=1 other systems that Debian has, to measure beside.
bench: LAB_PACKAGES += iperf3 ethtool util-linux $(if $(PEERS),wireguard-go wireguard-tools nebula tinc n2n)
bench: root requirements ## Throughput beside others, under 30 min (as root; PEERS=1 installs peers; BENCH="--quick", "--help")
	$(CARGO) build --release --package node --package cli --package benches --bins
	$(TARGET)/release/ztbench $(BENCH)

bench-lanes: root requirements ## What one node sends with 0, 1, 2 … lanes (as root; BENCH="--lanes 0,1,2,4")
	$(CARGO) build --release --package node --package cli --package benches --bins
	$(TARGET)/release/ztgrowth $(BENCH)

bench-micro: ## Micro benchmarks (Criterion): ciphers, fragments, checksums, rules and flow cache, super-frames (QUICK=1: rough, 2 min)
	$(CARGO) bench --package benches $(if $(QUICK),-- --quick)

bench-instructions: LAB_PACKAGES := valgrind
bench-instructions: requirements ## Instructions of the hot functions against benches/instructions.json (BENCH=--accept writes it)
	$(CARGO) build --release --package benches --bin ztcount
	$(TARGET)/release/ztcount $(BENCH)

floods: root requirements ## A stream beside every flood a stranger could send, some 30 min (as root; FLOODS="--kinds prefixes --runs 1")
	$(CARGO) build --release --package node --package cli --package benches --bins
	$(TARGET)/release/ztflood measure $(FLOODS)

recovery: root requirements ## Seconds without traffic after each fault, hours (as root; ZEROTIER_ONE=… beside; RECOVERY="--quick --only blind")
	$(CARGO) build --release --package node --package cli --package benches --bins
	$(TARGET)/release/ztbench --recovery $(RECOVERY)

CHAOS_SCHEDULES ?= 5000
chaos: ## Seeded disorder in simulated time, CHAOS_SCHEDULES=5000 schedules of it; CHAOS_SEED=n plays one again
	CHAOS_SCHEDULES=$(CHAOS_SCHEDULES) $(CARGO) test --package node --test chaos -- --nocapture

# An installed zerotier-one keeps its names: links in $(PREFIX) would come before them.
install: ## Install to $(PREFIX), with the names that scripts for zerotier-one call where nobody has them (NAMES=no: without)
	$(CARGO) build --release --package node --package cli --bins
	install -d $(DESTDIR)$(PREFIX)/sbin
	@for program in ztnode ztnode-cli; do \
	  objcopy --only-keep-debug $(TARGET)/release/$$program $(TARGET)/release/$$program.debug && \
	  objcopy --strip-all --add-gnu-debuglink=$(TARGET)/release/$$program.debug $(TARGET)/release/$$program $(TARGET)/release/$$program.stripped && \
	  install -m 755 $(TARGET)/release/$$program.stripped $(DESTDIR)$(PREFIX)/sbin/$$program && \
	  rm $(TARGET)/release/$$program.stripped || exit 1; \
	done
	@echo 'The symbols, for debuggers and backtraces with lines, are in $(TARGET)/release: ztnode.debug, ztnode-cli.debug'
	@for name in zerotier-cli zerotier-idtool; do \
	  found=$$(command -v $$name || :); \
	  if [ '$(NAMES)' = no ]; then continue; fi; \
	  case $$found in ''|$(DESTDIR)$(PREFIX)/sbin/$$name) ln -sf ztnode-cli $(DESTDIR)$(PREFIX)/sbin/$$name ;; \
	  *) echo "$$name is $$found already, and stays that; ztnode-cli is the same for ztnode" ;; esac; \
	done
