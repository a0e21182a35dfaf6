# Programs of the bench: build/bench/load and build/bench/nodes from load.c and
# nodes.c, build/bench/keys from keys.c with the module's own files, as the unit
# tests have them, and build/bench/fsync.so from fsync.c.  Called as
# `make -f bench/bench.mk`, with build/nginx-asan there.

include util/unit.mk

.DEFAULT_GOAL := programs
.PHONY: programs

programs: build/bench/load build/bench/nodes build/bench/keys \
    build/bench/fsync.so

build/bench/load: bench/load.c
	@mkdir -p $(@D)
	gcc -O2 -Wall -Wextra -Werror -o $@ $< -lcrypto

build/bench/fsync.so: bench/fsync.c
	@mkdir -p $(@D)
	gcc -O2 -Wall -Wextra -Werror -shared -fPIC -o $@ $<

build/bench/nodes: bench/nodes.c
	@mkdir -p $(@D)
	gcc -O2 -Wall -Wextra -Werror $(shell pkg-config --cflags libpq) \
	    -o $@ $< $(shell pkg-config --libs libpq)

build/bench/keys: bench/keys.c $(out)/apikeys.a $(out)/nginx.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $< -Wl,--start-group $(out)/apikeys.a \
	    $(out)/nginx.a -Wl,--end-group $(libs)
