# Unit tests: build/unit/NAME from t/unit/NAME.c, each linked with the files
# of the module that know no HTTP and with nginx's own objects, all of them
# under sanitizers.  Called as `make -f util/unit.mk` by t/010-unit.t, with
# build/nginx-asan there.

tree = build/nginx-asan
out = build/unit

tests = $(patsubst t/unit/%.c,$(out)/%,$(wildcard t/unit/*.c))
objs = $(patsubst src/%.c,$(out)/obj/%.o,$(wildcard src/ngx_apikeys_*.c))
core = $(filter-out %/nginx.o,$(shell find $(tree)/objs/src -name '*.o'))

CFLAGS := $(shell util/nginx-flags $(tree)) -I src -I t/unit \
    $(shell pkg-config --cflags libpq jansson libcrypto)
libs := -fsanitize=address,undefined -Wl,-E -ldl -lpthread -lcrypt \
    $(shell pkg-config --libs libpq jansson openssl libpcre2-8 zlib)

.SECONDARY:
.PHONY: all

all: $(tests)

$(out)/%: t/unit/%.c $(out)/apikeys.a $(out)/nginx.a $(wildcard t/unit/*.h)
	$(CC) $(CFLAGS) -o $@ $< -Wl,--start-group $(out)/apikeys.a \
	    $(out)/nginx.a -Wl,--end-group $(libs)

$(out)/apikeys.a: $(objs)
	rm -f $@
	ar rcs $@ $(objs)

$(out)/obj/%.o: src/%.c $(wildcard src/*.h) $(tree)/objs/Makefile
	@mkdir -p $(@D)
	$(CC) -c $(CFLAGS) -o $@ $<

# nginx as a library: its main has another name, and its table of modules
# does not name the module, whose HTTP side is not linked
$(out)/nginx.a: $(core) $(tree)/objs/src/core/nginx.o
	@mkdir -p $(@D)
	objcopy --redefine-sym main=nginx_main \
	    $(tree)/objs/src/core/nginx.o $(out)/nginx.o
	grep -v ngx_http_apikeys $(tree)/objs/ngx_modules.c > $(out)/modules.c
	$(CC) -c $(CFLAGS) -o $(out)/modules.o $(out)/modules.c
	rm -f $@
	ar rcs $@ $(core) $(out)/nginx.o $(out)/modules.o
