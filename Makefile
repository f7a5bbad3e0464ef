# The commands of this project. `make` alone lists them.
# CARGO_TARGET_DIR, if exported, is where builds go; else cargo's own default.
# Recipes are POSIX sh; GNU make 3.81 will do.

.DEFAULT_GOAL := help
SHELL := /bin/sh

CARGO ?= cargo
ARGS ?=

FIRST_BUILD := about 15 minutes on 2 cores the first time

# Shell functions for the recipes below, which load them with: eval "$$FUNCTIONS"
define FUNCTIONS
say() { printf '%s\n' "$$*"; }
have() { command -v "$$1" >/dev/null 2>&1; }
as_root() {
  if [ "$$(id -u)" -eq 0 ]; then "$$@"
  elif have sudo; then sudo "$$@"
  else say "This needs root, and there is no sudo. Run as root: $$*" >&2; return 1
  fi
}
# install_package WHAT: ffmpeg, or cc (a C compiler with the headers of its libc)
install_package() {
  if have apt-get; then
    case $$1 in cc) set -- gcc libc6-dev;; esac
    as_root apt-get update -qq &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "$$@"
  elif have dnf; then
    # Fedora's own archive calls its build ffmpeg-free.
    case $$1 in
      cc) as_root dnf install -y -q gcc glibc-devel;;
      *) as_root dnf install -y -q ffmpeg || as_root dnf install -y -q ffmpeg-free;;
    esac
  elif have pacman; then
    case $$1 in cc) set -- gcc;; esac
    as_root pacman -S --needed --noconfirm "$$@"
  elif have apk; then
    case $$1 in cc) set -- build-base;; esac
    as_root apk add "$$@"
  elif have brew; then
    case $$1 in cc) say 'Run: xcode-select --install' >&2; return 1;; esac
    brew install "$$@"
  else
    say "No package manager that I know (apt-get, dnf, pacman, apk, brew). Please install $$1 by hand." >&2; return 1
  fi
}
need() {
  have "$$1" && return 0
  say "Installing $$1: $$2"
  install_package "$$1" && have "$$1" && return 0
  say "$$1 is still missing: please install it and run make again." >&2; return 1
}
first_build_note() {
  [ -d "$${CARGO_TARGET_DIR:-target}/$$1" ] || say "Building tamslake: $(FIRST_BUILD), seconds after that."
}
endef
export FUNCTIONS

.PHONY: help rust duckdb setup run demo test check bench dist clean

help: ## list these commands
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'Flags for run, demo, test and bench go in ARGS:  make demo ARGS="--listen 127.0.0.1:9000"'

# Everything that is built needs Rust and a C compiler (as linker, and for the C parts of two crates); nothing more.
rust:
	@eval "$$FUNCTIONS"; \
	if ! have $(CARGO); then \
	  say 'Rust is missing: there is no `$(CARGO)` on the PATH.' >&2; \
	  say 'Get it from https://rustup.rs, open a new shell (or run: . "$$HOME/.cargo/env"), and run make again.' >&2; \
	  exit 1; \
	fi; \
	want=$$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' Cargo.toml); \
	is=$$($(CARGO) --version | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p'); \
	if [ "$${is:-0}" -lt "$$want" ]; then \
	  say "Rust is too old: this is 1.$$is, and tamslake needs 1.$$want." >&2; \
	  say 'Get it from https://rustup.rs, or run: rustup update' >&2; \
	  exit 1; \
	fi; \
	need cc 'a C compiler, which Rust links with'

# The other targets see to it by themselves; this is for those who call cargo.
duckdb: rust ## fetch DuckDB's library into vendor/duckdb, once
	@scripts/fetch-duckdb

setup: duckdb ## install what the tests need: ffmpeg (run and demo need nothing more than Rust)
	@eval "$$FUNCTIONS"; need ffmpeg 'the end-to-end tests make and play real video with it'

run: duckdb ## build, and serve the data folder ./data on http://127.0.0.1:8000
	@eval "$$FUNCTIONS"; first_build_note debug
	@$(CARGO) run --locked -- serve $(ARGS)

demo: duckdb ## build, and serve a sample catalogue that the server makes itself
	@eval "$$FUNCTIONS"; first_build_note debug
	@$(CARGO) run --locked -- demo $(ARGS)

test: setup ## run all tests
	@eval "$$FUNCTIONS"; first_build_note debug
	TAMSLAKE_TEST_REQUIRE=ffmpeg $(CARGO) test --locked $(ARGS)

check: duckdb ## format, lints, licences, chart: what a change must pass besides the tests
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null 2>&1; then \
	  set -x; $(CARGO) deny --locked check licenses bans sources; \
	else echo 'Not checked: licences and sources of dependencies (to have it: cargo install --locked cargo-deny)'; fi
	@if command -v helm >/dev/null 2>&1; then \
	  set -x; helm lint --strict helm/tamslake; \
	else echo 'Not checked: the chart (helm is not installed)'; fi

bench: duckdb ## run the benchmarks of benches/
	@eval "$$FUNCTIONS"; first_build_note release
	$(CARGO) bench --locked $(ARGS)

dist: duckdb ## build the binary to ship: target/dist/tamslake (slow: link-time optimisation)
	$(CARGO) build --locked --profile dist
	@dist="$${CARGO_TARGET_DIR:-target}/dist"; \
	for file in "$${DUCKDB_LIB_DIR:-vendor/duckdb}"/libduckdb.* "$${DUCKDB_LIB_DIR:-vendor/duckdb}"/LICENSE.duckdb; do \
	  if [ -f "$$file" ]; then rm -f "$$dist/$${file##*/}" && cp "$$file" "$$dist/"; fi; \
	done; \
	echo "Built: $$dist/tamslake; DuckDB's library has to stay beside it, or in ../lib."

clean: ## remove what was built; data folders stay
	$(CARGO) clean
