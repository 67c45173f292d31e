# Gnomon. `make help` lists the targets; `make demo` and `make test` need nothing done before them.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS     := -s -w -X main.version=$(VERSION)
BIN         := bin
PURE        := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'
FUZZTIME    ?= 20s
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.5.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.1.4
export GOFLAGS ?= -buildvcs=false

.PHONY: help build demo test check bench lint fuzz race vuln docs linear day readme replicas test-faults valkey

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/gnomon, bin/gnomon-edge, bin/gnomon-launch, bin/gnomon-shim (cgo) and bin/gnomon-sim
	@.ci/deps build
	$(PURE) -o $(BIN)/gnomon ./cloud/cmd/gnomon
	$(PURE) -o $(BIN)/gnomon-edge ./edge/cmd/gnomon-edge
	$(PURE) -o $(BIN)/gnomon-launch ./edge/cmd/gnomon-launch
	CGO_ENABLED=1 go build -trimpath -tags netgo,osusergo -ldflags '$(LDFLAGS)' -o $(BIN)/gnomon-shim ./edge/cmd/gnomon-shim
	$(PURE) -o $(BIN)/gnomon-sim ./simulator/cmd/gnomon-sim

demo: ## the main job on this machine: cloud, edge node, three modes, a meter (DEMO_EXIT=1 ends it)
	@.ci/deps demo
	@$(MAKE) --no-print-directory build
	@DEMO_EXIT="$(DEMO_EXIT)" deploy/demo/run

test: ## every test, on real parts; installs what it needs
	@.ci/deps test
	go test -timeout 14m ./...

race: ## the tests of the packages with goroutines under the race detector
	@.ci/deps test
	CGO_ENABLED=1 go test -race -timeout 20m ./shadow/... ./schema/... ./cloud/... ./edge/state/... ./edge/readings/... ./edge/health/... ./edge/bus/... ./edge/link/... ./edge/local/... ./edge/override/... ./edge/reconcile/... ./edge/collect/... ./edge/upgrade/... ./simulator/...

linear: ## 200 histories of versioned updates under kills and cuts, judged by porcupine (SEED=n SEEDS=1 repeats one)
	SEEDS=$${SEEDS:-200} go test -count=1 -run Linearizable ./simulator/linear

day: ## a station area of 300 meters for a day, in virtual time, as a table (SEED=n repeats one)
	@report=$$(mktemp); trap 'rm -f "$$report"' EXIT; \
	DAY=whole REPORT=$$report go test -count=1 -timeout 10m -run '^TestDay$$' ./simulator/day >&2; cat "$$report"

readme: ## the five commands of README.md's station area with slots of a minute, as they are printed (4 minutes)
	@.ci/deps test
	README=whole go test -count=1 -timeout 12m -v -run '^TestReadme' ./simulator/endtoend

test-faults: build ## everything that happens to edge nodes, one fault after the other, as a table (SEED=n repeats one, ONLY=regexp takes some)
	@.ci/deps test
	$(BIN)/gnomon-sim faults $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only '$(ONLY)')

replicas: ## three replicas on a Redis Cluster, 1,000 nodes (NODES=n), every fault in turn: how long until all have converged
	@.ci/deps test
	@report=$$(mktemp); trap 'rm -f "$$report"' EXIT; \
	NODES=$${NODES:-1000} REPORT=$$report go test -count=1 -timeout 20m -run TestExperiment ./simulator/replicas >&2; cat "$$report"

valkey: ## the tests of the store, the fan-out and the replicas on Valkey instead of Redis
	@.ci/valkey

lint: ## gofmt, vet and golangci-lint with the dependency rule
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'not formatted (run gofmt -w):'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go run $(GOLANGCI) run ./...

vuln: ## known vulnerabilities in what is linked
	@out=$$(go run $(GOVULNCHECK) ./... 2>&1) && { echo "$$out"; exit 0; }; \
	if grep -qE 'vuln.go.dev|no such host|Forbidden|dial tcp' <<<"$$out"; then \
	  echo "skip: the vulnerability database can't be reached from here (1 check skipped)"; else echo "$$out"; exit 1; fi

docs: ## the documents against the code: links, samples, OpenAPI, house rules
	go test -count=1 -run 'Architecture|Documents|OpenAPI' . ./cloud/rest/...

fuzz: ## every decoder for FUZZTIME (default 20s) each
	@go list -f '{{.Dir}}' ./... | while read -r dir; do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go 2>/dev/null | cut -c6-); do \
	    echo "== $$f in $${dir#$(CURDIR)/}"; (cd "$$dir" && go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) .); \
	  done; done

bench: build ## the figures of benchmarks/, as ratios in one run
	@.ci/deps bench
	$(PURE) -o $(BIN)/bench-peer ./benchmarks/cmd/bench-peer
	$(PURE) -o $(BIN)/gnomon-bench ./benchmarks/cmd/gnomon-bench
	benchmarks/run

check: lint docs vuln linear day race test-faults ## what CI runs besides `make test`
