# Hawser. `make help` lists the targets; README.md says which two a newcomer needs.

SHELL := /bin/bash
GO    ?= go
BIN   := bin/hawser
# How long each fuzz target runs in `make fuzz`.
FUZZTIME ?= 30s
PKGS := ./...

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/hawser
	$(GO) build -o $(BIN) ./cmd/hawser

.PHONY: demo
demo: build ## the service with an in-process broker, relaying before your eyes, open for commands; Ctrl-C ends it
	@$(BIN) demo

.PHONY: run
run: build ## just the service on its embedded store under ./data
	@$(BIN) serve

.PHONY: cluster
cluster: servers build ## three nodes as plain processes on a private PostgreSQL, with a Mosquitto; Ctrl-C ends it
	@deploy/cluster

.PHONY: chaos
chaos: servers build ## break a cluster of real processes in every way of the design and check what must hold (about 40 minutes)
	$(GO) run ./cmd/chaos -binary $(BIN)

.PHONY: servers
servers: ## check that PostgreSQL and Mosquitto are there for the tests, install them where that is allowed
	@.ci/servers

.PHONY: test
# Without the cache: it does not see that the binary which the black-box tests build has changed.
test: servers build ## all tests, against a real PostgreSQL and Mosquitto, then the short form of the chaos program
	$(GO) test -count=1 -timeout 15m $(PKGS)
	$(GO) run ./cmd/chaos -short -binary $(BIN)

.PHONY: race
race: servers ## all tests under the race detector
	$(GO) test -race -timeout 30m $(PKGS)

.PHONY: lint
lint: ## gofmt, go vet and staticcheck (exceptions stand in the code: //lint:ignore with the reason)
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt wants to change:"; echo "$$out"; exit 1; fi
	$(GO) vet $(PKGS)
	$(GO) tool staticcheck $(PKGS)

.PHONY: bench
bench: servers build ## the budgets of the design as one table, compared as ratios within this run
	@.ci/bench

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (default 30s)
	@set -e; for pkg in $$($(GO) list $(PKGS)); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

.PHONY: proto
proto: ## generate proto/**/*.pb.go
	cd proto && $(GO) tool buf generate

.PHONY: verify
verify: lint test race ## what must be green before a release
