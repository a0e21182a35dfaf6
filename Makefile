# Developers' and newcomers' commands.  `make help` lists them.
#
# Everything that is made lies in build/ and can be deleted, but for
# build/run: the database and keys of `make run`.

SHELL = /bin/bash

PORT ?= 8080
NODES ?= 1
TESTS ?= t

# all take half an hour; what can mean nothing under valgrind skips itself
VALGRIND_TESTS ?= $(TESTS)

export PORT NODES PORT_OM44

srcs = $(wildcard src/*.[ch] src/*/*.[ch] src/*/*/*.[ch])
module = build/ngx_http_apikeys_module.so


.PHONY: all deps run start stop reset test test-asan test-valgrind matrix procedures \
    check fuzz bench clean deb dist packages-test man help

all: $(module)                                 ## builds the module (default)

# a pattern: gcc and clang have a tree each
build/%/objs/Makefile: config util/configure
	@util/configure $* $(if $(filter clang,$*),clang,gcc)

$(module): build/gcc/objs/Makefile $(srcs)
	@flock build/gcc.lock $(MAKE) --no-print-directory -s -C build/gcc \
	    -f objs/Makefile modules
	@install -m 0644 build/gcc/objs/ngx_http_apikeys_module.so $@.new
	@mv $@.new $@
	@echo "built $@"

deps:                                          ## installs missing packages
	@util/deps

run:                                           ## a private server, in the foreground
	@util/deps server
	@$(MAKE) --no-print-directory all
	@util/run foreground

start:                                         ## the same in the background
	@util/deps server
	@$(MAKE) --no-print-directory all
	@util/run start

stop:                                          ## ends what start started
	@util/run stop

reset: stop                                    ## deletes the data of run
	@util/run reset

test: deps                                     ## runs every test (TESTS=t/x.t)
	@$(MAKE) --no-print-directory all
	@util/test $(TESTS)

test-asan: deps                                ## the same under sanitizers
	@util/test --asan $(TESTS)

test-valgrind: deps                            ## the same under valgrind
	@$(MAKE) --no-print-directory all
	@util/test --valgrind $(VALGRIND_TESTS)

fuzz: deps                                     ## fuzzes (FUZZ_SECONDS=30 each)
	@util/fuzz

bench: deps                                    ## what the module costs
	@$(MAKE) --no-print-directory all
	@bench/deps
	@util/nginx-asan core
	@$(MAKE) --no-print-directory -s -f bench/bench.mk
	@bench/run $(BENCH)

matrix:                                        ## other nginx and PostgreSQL
	@util/matrix $(CELLS)

procedures:                                    ## what the documentation tells
	@util/procedures $(PROCEDURES)

dist:                                          ## the tarball of a release
	@util/dist

deb:                                           ## Debian packages, in build/deb
	@$(if $(SUITE),util/packages --build $(SUITE),util/deb)

packages-test:                                 ## the packages in chroots
	@util/packages $(or $(SUITES),bookworm trixie sid)

man:                                           ## manual pages, in build/man
	@mkdir -p build/man
	@util/man build/man

check: deps                                    ## style, layers, warnings, analysis
	@util/check

clean:                                         ## deletes what was built
	@find build -mindepth 1 -maxdepth 1 ! -name run -exec rm -rf {} + \
	    2>/dev/null || :

help:                                          ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16
