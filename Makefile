# Short names for the lines one would type. `make help` lists them.
GO      ?= go
BIN     := bin
DEMO    := out/demo
SEEDS   ?= $(shell seq 1 10)
# The tool of `mutate`: run, never linked.
GREMLINS := github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0
export CGO_ENABLED = 0

.PHONY: build bundle demo attack test long soak soak-real race mutate bench lint install interop generate clean help

build: bundle ## build every command into bin/
	$(GO) build -trimpath -o $(BIN)/ ./cmd/...

bundle: ## fetch and check the official actors (a Go module, pinned by version and CID)
	@$(GO) run ./build/bundle

demo: build ## the whole line on this machine: FILE=path KEEP=1 CHAOS=1 FORM=groth16 SNAP=1
	@$(GO) build -trimpath -o $(BIN)/demo ./internal/demo
	@$(BIN)/demo --bin $(BIN) --dir $(DEMO) $(if $(FILE),--file '$(FILE)') $(if $(KEEP),--keep) $(if $(CHAOS),--chaos) $(if $(FORM),--form $(FORM)) $(if $(SNAP),--snap)

attack: build ## own the markets host of a fresh network and try everything with its token; 0 only when nothing gave way and all still works (PATIENCE=10s on a busy machine)
	@$(GO) build -trimpath -o $(BIN)/attack ./internal/attack
	@$(BIN)/attack -bin $(BIN) -dir out/attack $(if $(PATIENCE),-patience $(PATIENCE))

test: bundle ## every test of the main module
	$(GO) vet ./...
	$(GO) test -timeout 14m ./...

long: bundle ## the tests that `test` leaves out because they take minutes and gigabytes: 8 MiB sectors, real parameters, 2^27 constraints
	QUARRY_LONG=1 $(GO) test -timeout 180m ./proofs/... ./storage/... ./node ./internal/paramcache ./cmd/miner-worker

soak: build ## long: kill -9 everybody, with many seeds (SEEDS="1 2 3"), and the tests that let days of chain time pass
	@$(GO) build -trimpath -o $(BIN)/demo ./internal/demo
	QUARRY_LONG=1 $(GO) test -timeout 14m -run 'TestDamagedSector|TestSyntheticSectors' -v ./node
	@for seed in $(SEEDS); do for size in 2KiB 8MiB; do echo "== $$size, seed $$seed"; \
	  $(BIN)/demo --bin $(BIN) --dir $(DEMO)-$$size-$$seed --sector-size $$size --deals 3 --chaos --every 2s --rounds 10 --seed $$seed --budget 15m || exit 1; \
	  rm -rf $(DEMO)-$$size-$$seed; done; done
	@$(GO) build -trimpath -o $(BIN)/attack ./internal/attack
	@$(BIN)/attack -bin $(BIN) -dir out/attack -rounds 3 -sockets 450 -budget 60m

soak-real: build ## long, as root: what happens to nodes where they live, in real time (most of a day; SHORT=1 an hour, ONLY=regexp, SEED=n, SLACK=n on a busy machine)
	@$(GO) build -trimpath -o $(BIN)/soak ./internal/soak
	@$(BIN)/soak -bin $(BIN) $(if $(SHORT),-short) $(if $(ONLY),-run '$(ONLY)') $(if $(SEED),-seed $(SEED)) $(if $(SLACK),-slack $(SLACK))

race: bundle ## the same under the race detector (the only target that needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -timeout 28m ./...

mutate: bundle ## hours: do the tests of what holds money or data notice when its code changes? PKG=storage/sched one package
	@GOBIN='$(CURDIR)/$(BIN)' $(GO) install $(GREMLINS)
	@$(GO) run ./internal/mutate -gremlins $(BIN)/gremlins $(if $(PKG),-pkg '$(PKG)')

bench: build ## speed of the proofs, with the machine named: SHORT=1 without a 512 MiB sector, ALL=1 every benchmark
	@$(GO) run ./internal/bench/gobench -go '$(GO)' -worker $(BIN)/miner-worker \
		-params '$(or $(FIL_PROOFS_PARAMETER_CACHE),out/bench-params)' $(if $(ALL),-all) $(if $(SHORT),-short)

interop: build ## drive the devnet with Lotus's own RPC client (a module of its own)
	cd interop && $(GO) test -timeout 10m ./...

lint: ## vet and formatting, also of the kernels for arm64 and of the portable code
	$(GO) vet ./...
	GOARCH=arm64 $(GO) vet ./proofs/...
	$(GO) vet -tags purego ./proofs/...
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }

generate: ## everything that is generated
	$(GO) generate ./...

install: bundle ## install the commands where `go install` puts them
	$(GO) install -trimpath ./cmd/...

clean: ## remove what the build and the demo made
	rm -rf $(BIN) out

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12
