# make help lists what there is.
GO ?= go
BIN := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: help run build test check race fuzz soak bench lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build and start sereno on 127.0.0.1:8080, its store in ./data
	@$(BIN)/sereno serve

build: ## build bin/sereno
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/ ./cmd/...

test: ## everything that CI runs; installs what it needs
	@bash ./.ci/test

lint: ## vet, gofumpt, go fix, golangci-lint, deadcode
	@sh ./.ci/lint

race: ## the tests that can bear it, with the race detector
	@$(GO) list ./... | grep -vE '/(samples|cmd/sereno|backup|store|store/postgrestest|bench.*)$$' | xargs $(GO) test -race -short

fuzz: ## every fuzz target for 20 seconds
	@sh ./.ci/fuzz 20s

soak: build ## the long promises: kill -9, stalls, cuts, storms (half an hour, root)
	@$(GO) test -count=1 -timeout 60m -tags soak -v ./bench/soak

bench: build ## Sereno beside the bare loop and fping; writes bench/README.md
	@$(GO) run ./bench/cmd

clean: ## remove what was built
	@rm -rf $(BIN)
