# Programs of the bench: build/bench/load from load.c, and build/bench/keys
# from keys.c with the module's own files, as the unit tests have them.
# Called as `make -f bench/bench.mk`, with build/nginx-asan there.

include util/unit.mk

.DEFAULT_GOAL := programs
.PHONY: programs

programs: build/bench/load build/bench/keys

build/bench/load: bench/load.c
	@mkdir -p $(@D)
	gcc -O2 -Wall -Wextra -Werror -o $@ $< -lcrypto

build/bench/keys: bench/keys.c $(out)/apikeys.a $(out)/nginx.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $< -Wl,--start-group $(out)/apikeys.a \
	    $(out)/nginx.a -Wl,--end-group $(libs)
