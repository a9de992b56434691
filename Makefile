# Everything here does its own set-up; see README.md.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
export PATH := $(PATH):/usr/local/go/bin

.PHONY: build install test run bench lint clean

build:
	CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/govmd ./cmd/govmd

# What was built is installed: make && sudo make install. DESTDIR and PREFIX as usual.
export DESTDIR PREFIX BINDIR MANDIR DOCDIR SYSCONFDIR RUNDIR LOGDIR UNITDIR SYSUSERSDIR COMPLETIONSDIR

install:
	@[ -x bin/govmd ] || $(MAKE) build
	scripts/install

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
