# make test    everything, with real phones        make check   vet, staticcheck, -race, cross-compiling
# make build   ./siproam                           make fuzz    60 s a target       make bench   against Kamailio, Kea
# make soak    histories of the model; floods, and 5,000 slow connections, beside good calls; what becomes of Redis; every move with every fault at every step
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/siproam/siproam/cli.Version=$(VERSION)
PREFIX  ?= /usr/local
GO      ?= go

.PHONY: build test unit endpoints check soak fuzz fuzz-short bench install dist clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o siproam .

test: unit fuzz-short endpoints

# Go only: no root, nothing beyond loopback.
unit:
	$(GO) test ./...

# baresip, SIPp, redis-server, tshark and friends, in a network namespace of their own.
endpoints:
	scripts/deps
	$(GO) vet -tags endpoints ./e2e ./routesrv
	$(GO) build -o .cache/siproam .
	$(GO) test -tags endpoints -c -o .cache/e2e.test ./e2e
	$(GO) test -tags endpoints -c -o .cache/routesrv.test ./routesrv
	SIPROAM_BINARY=$(CURDIR)/.cache/siproam E2E=$(CURDIR)/.cache/e2e.test ROUTESRV=$(CURDIR)/.cache/routesrv.test scripts/endpoints

check:
	$(GO) vet ./...
	test -z "$$(gofmt -l $$(git ls-files '*.go'))"
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	GOOS=darwin $(GO) vet . && GOOS=windows $(GO) vet .
	$(GO) test -race $$($(GO) list ./... | grep -v /e2e) # e2e drives a binary built without it

FUZZTIME ?= 60s
fuzz:
	scripts/fuzz $(FUZZTIME)

# Under a minute once it is compiled: what a change broke at once.
fuzz-short:
	scripts/fuzz 1s

bench:
	scripts/bench
	scripts/bench-dhcp

MODEL ?= 14400
# MODEL seconds of histories of registrar/control/model. Floods of 20,000 messages a second for DUR (120) seconds beside
# good calls; KINDS="register invite all ..." Then the table of faults, RUNS (1) times.
soak:
	DUR=$(MODEL) scripts/soak-model
	scripts/soak
	scripts/soak-faults
	scripts/soak-table
	scripts/soak-dhcp

install: build
	install -D -m 755 siproam $(DESTDIR)$(PREFIX)/bin/siproam
	install -D -m 644 packaging/systemd/siproam.service $(DESTDIR)/etc/systemd/system/siproam.service
	install -D -m 640 office.example.yaml $(DESTDIR)/etc/siproam/office.example.yaml

dist:
	for t in linux/amd64 linux/arm64 darwin/arm64 windows/amd64; do \
		os=$${t%/*} arch=$${t#*/} ext=; [ $$os = windows ] && ext=.exe; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o dist/siproam-$(VERSION)-$$os-$$arch$$ext . || exit 1; \
	done

clean:
	rm -rf siproam dist .cache
