# Unit tests: build/unit/NAME from t/unit/NAME.c, each linked with the files
# of the module that know no HTTP and with nginx's own objects, all of them
# under sanitizers.  Called as `make -f util/unit.mk` by t/010-unit.t, with
# build/nginx-asan there.
#
# `make -f util/unit.mk fuzz`, by t/015-fuzz.t: build/unit/fuzz/NAME from
# t/fuzz/NAME.c, without libFuzzer and with all of the module.  util/fuzz is
# for new inputs; these tell at once when a target no longer fits the module.

tree = build/nginx-asan
out = build/unit

tests = $(patsubst t/unit/%.c,$(out)/%,$(wildcard t/unit/*.c))
fuzzes = $(patsubst t/fuzz/%.c,$(out)/fuzz/%,$(wildcard t/fuzz/*.c))

# the folders of src that know HTTP, and those that do not
http_dirs = src/http src/http/api
dirs = src/core src/pg src/store src/sync

http = $(patsubst src/%.c,$(out)/obj/%.o,$(wildcard $(http_dirs:=/*.c) \
    src/*.c))
objs = $(patsubst src/%.c,$(out)/obj/%.o,$(wildcard $(dirs:=/*.c)))
headers = $(wildcard $(dirs:=/*.h) $(http_dirs:=/*.h))
core = $(filter-out %/nginx.o,$(shell find $(tree)/objs/src -name '*.o'))

CFLAGS := $(shell util/nginx-flags $(tree)) $(dirs:%=-I %) \
    $(http_dirs:%=-I %) -I t/unit \
    $(shell pkg-config --cflags libpq jansson libcrypto)
libs := -fsanitize=address,undefined -Wl,-E -ldl -lpthread -lcrypt \
    $(shell pkg-config --libs libpq jansson openssl libpcre2-8 zlib)

.SECONDARY:
.PHONY: all fuzz

all: $(tests)

fuzz: $(fuzzes)

$(out)/%: t/unit/%.c $(out)/apikeys.a $(out)/nginx.a $(wildcard t/unit/*.h)
	$(CC) $(CFLAGS) -o $@ $< -Wl,--start-group $(out)/apikeys.a \
	    $(out)/nginx.a -Wl,--end-group $(libs)

# a function __wrap_F in a target takes the place of F for all other files
wraps = $(shell grep -o '__wrap_[a-z_0-9]*' $< | sort -u \
    | sed 's/__wrap_/-Wl,--wrap=/')

$(out)/fuzz/%: t/fuzz/%.c t/tools/replay.c $(out)/fuzz/modules.o \
		$(out)/http.a $(out)/apikeys.a $(out)/nginx.a \
		$(wildcard t/fuzz/*.h)
	$(CC) $(CFLAGS) -I t/fuzz -o $@ $< t/tools/replay.c \
	    $(out)/fuzz/modules.o $(wraps) -Wl,--start-group $(out)/http.a \
	    $(out)/apikeys.a $(out)/nginx.a -Wl,--end-group $(libs)

# with the module
$(out)/fuzz/modules.o: $(tree)/objs/Makefile
	@mkdir -p $(@D)
	$(CC) -c $(CFLAGS) -o $@ $(tree)/objs/ngx_modules.c

$(out)/http.a: $(http)
	rm -f $@
	ar rcs $@ $(http)

$(out)/apikeys.a: $(objs)
	rm -f $@
	ar rcs $@ $(objs)

$(out)/obj/%.o: src/%.c $(headers) $(tree)/objs/Makefile
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
