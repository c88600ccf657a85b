# Suffix: build, install, run.
#
#   make            build everything into bin/
#   make test       unit tests and tests of a private instance; needs only Go
#   make run        a private instance on 127.0.0.1:2525, until interrupted
#   make demo       the same, and stop after one message each way
#   make install    install below $(DESTDIR); every directory can be overridden
#   make lint       formatting and static checks
#   make docs       manual pages and HTML, from man/src and the programs
#   make race       unit tests with the race detector; needs a C compiler
#   make interop    as root on Debian: against the real Postfix and its peers
#   make bench      as root on Debian: the same load on Postfix and on Suffix
#   make crash      kills processes under load and looks for lost mail

GO      = go
BUILDFLAGS = -trimpath -ldflags "-s -w"
BIN     = bin
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

config_directory  = /etc/postfix
command_directory = /usr/sbin
daemon_directory  = /usr/libexec/postfix
queue_directory   = /var/spool/postfix
data_directory    = /var/lib/postfix
meta_directory    = $(config_directory)
sendmail_path     = /usr/sbin/sendmail
mailq_path        = /usr/bin/mailq
newaliases_path   = /usr/bin/newaliases
manpage_directory = /usr/local/man
html_directory    = no
mail_owner        = postfix
setgid_group      = postdrop
PORT              = 2525

export CGO_ENABLED = 0

.PHONY: all build test run demo install lint race interop interop-programs interop-suites bench crash docs clean

all: build

build:
	@mkdir -p $(BIN)/libexec
	$(GO) build $(BUILDFLAGS) -o $(BIN)/ ./cmd/...
	$(GO) build $(BUILDFLAGS) -o $(BIN)/libexec/ ./libexec/suffixd ./libexec/heavy
	@ln -sf sendmail $(BIN)/mailq
	@ln -sf sendmail $(BIN)/newaliases
	@for all in suffixd heavy; do \
		for name in `$(BIN)/libexec/$$all --names`; do ln -f $(BIN)/libexec/$$all $(BIN)/libexec/$$name || exit 1; done; \
	done

test:
	$(GO) test ./...

run: build
	$(GO) run ./test/run -bin $(BIN) -dir run -port $(PORT)

demo: build
	$(GO) run ./test/run -bin $(BIN) -dir run -port $(PORT) -demo

install: build
	DESTDIR='$(DESTDIR)' BIN='$(BIN)' \
	config_directory='$(config_directory)' command_directory='$(command_directory)' \
	daemon_directory='$(daemon_directory)' queue_directory='$(queue_directory)' \
	data_directory='$(data_directory)' meta_directory='$(meta_directory)' \
	sendmail_path='$(sendmail_path)' mailq_path='$(mailq_path)' newaliases_path='$(newaliases_path)' \
	manpage_directory='$(manpage_directory)' html_directory='$(html_directory)' \
	mail_owner='$(mail_owner)' setgid_group='$(setgid_group)' \
	sh conf/install.sh

lint:
	@unformatted=`gofmt -l cmd libexec man pkg test`; if [ -n "$$unformatted" ]; then echo "not formatted: $$unformatted"; exit 1; fi
	$(GO) vet -tags interop ./...
	$(GO) run $(STATICCHECK) ./...

# Without what links SQLite: that library, made from C, takes minutes to build
# for the race detector.
race:
	CGO_ENABLED=1 $(GO) test -race `$(GO) list ./pkg/... ./libexec/... | grep -v -e /heavytables -e /libexec/heavy -e /table/sqlite`

# The packages with tests that need Debian's programs.
INTEROP = $(shell grep -rl --include='*_test.go' '^//go:build interop' cmd libexec pkg test | xargs -n1 dirname | sort -u | sed 's|^|./|')

interop: interop-programs interop-suites

# Programs beside their counterparts: the same input, the same output.
interop-programs: build
	test/interop/prepare.sh
	$(GO) test -count=1 -p 2 -timeout 20m -tags interop $(filter-out ./test/interop,$(INTEROP))

# Whole suites: each program alone in the other suite, and queues handed over.
interop-suites: build
	test/interop/prepare.sh
	$(GO) test -count=1 -timeout 20m -tags interop ./test/interop

bench: build
	$(GO) run ./test/bench

crash: build
	$(GO) run ./test/crash -bin $(BIN)

docs:
	$(GO) run ./man/gen

clean:
	rm -rf $(BIN)
