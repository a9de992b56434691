# Everything here does its own set-up; see README.md.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
export PATH := $(PATH):/usr/local/go/bin

.PHONY: build test run bench lint clean

build:
	CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/govmd ./cmd/govmd

test:
	scripts/test

run:
	scripts/run

bench: build
	scripts/bench

lint:
	scripts/lint

clean:
	rm -rf bin
