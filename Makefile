# fmforge: make help lists the targets. One Makefile, nothing to configure.
#   make setup pipeline CONFIG=configs/quickstart.yaml
#   make setup test
MODE ?= release
CONFIG ?= configs/quickstart.yaml
CC := $(if $(filter default undefined,$(origin CC)),$(if $(filter fuzz,$(MODE)),clang,gcc),$(CC))
CXX := $(if $(filter default undefined,$(origin CXX)),$(if $(findstring clang,$(CC)),clang++,g++),$(CXX))

# ---------------------------------------------------------------------------------- setup first
# With "setup" among the goals the rest starts after it, in a make that sees what was installed.
ifneq ($(filter setup,$(MAKECMDGOALS)),)
REST := $(filter-out setup,$(MAKECMDGOALS))
.PHONY: setup $(REST)
setup:
	@sh tests/setup.sh
	$(if $(REST),@$(MAKE) --no-print-directory $(REST))
$(REST): setup
	@:
else

# ------------------------------------------------------------------------------------ the mode
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
            -Wformat=2 -Wno-format-nonliteral -Wpointer-arith -Werror
CXX_WARNINGS := -Wall -Wextra -Wshadow -Werror
FLAGS_release := -O2 -DNDEBUG
FLAGS_debug := -O0 -g
FLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan := -O1 -g -fsanitize=thread
FLAGS_cov := -O0 -g --coverage -DFMFORGE_COVERAGE
FLAGS_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -Wno-pass-failed
ifeq ($(origin FLAGS_$(MODE)),undefined)
$(error MODE=$(MODE) is not known: release, debug, asan, tsan, cov or fuzz)
endif
COMMON := -I. -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -fPIE -pthread $(FLAGS_$(MODE))
ALL_CFLAGS := -std=c11 $(COMMON) $(WARNINGS)
ALL_CXXFLAGS := -std=c++17 $(COMMON) $(CXX_WARNINGS)
# Static where Debian has an archive; whatever reaches an output byte is then in the program.
LIBS_BASE := -Wl,-Bstatic -lcrypto -lzstd -Wl,-Bdynamic -lcjson -lm -ldl
LIBS_ENGINE := -Wl,-Bstatic -lyaml -Wl,-Bdynamic $(LIBS_BASE)
LIBS_LEDGER := -lgit2 -lz $(LIBS_BASE)
LIBS_REMOTE := -lcurl $(LIBS_BASE)
# Netlib's LAPACK, never another provider of its names: its bits do not depend on the CPU.
NETLIB := $(addprefix -L/usr/lib/$(shell $(CC) -print-multiarch 2>/dev/null)/,lapack blas)
LIBS_LAPACK := $(NETLIB) -Wl,-Bstatic -llapack -lblas -Wl,-Bdynamic -l:libgfortran.so.5
LIBS_STAGE := -Wl,--as-needed $(LIBS_LAPACK) -lsentencepiece_train -lsentencepiece -lstdc++ -Wl,-Bstatic -lz -Wl,-Bdynamic $(LIBS_BASE)
LDFLAGS := -pie -pthread $(filter -fsanitize% --coverage,$(FLAGS_$(MODE)))

ID := $(shell { $(CC) --version; $(CXX) --version; echo '$(ALL_CFLAGS) $(ALL_CXXFLAGS) $(LDFLAGS)'; } \
        2>&1 | sha256sum | cut -c1-8)
B := build/$(MODE)-$(ID)
BIN := $(B)/bin

# ----------------------------------------------------------------------------------- the sources
BASE_C := $(sort $(wildcard pipeline/base/*.c))
LEDGER_C := $(filter-out %/ledger_client.c,$(sort $(wildcard pipeline/provenance/ledger_*.c)))
REMOTE_C := $(sort $(wildcard pipeline/store/remote_*.c))
ENGINE_LIB_C := $(filter-out $(LEDGER_C) $(REMOTE_C),$(sort $(wildcard pipeline/manifest/*.c pipeline/store/*.c \
                  pipeline/provenance/*.c pipeline/report/*.c pipeline/engine/*.c)))
ENGINE_C := $(sort $(wildcard pipeline/main.c pipeline/cmd/*.c))
FRONT_C := pipeline/front/main.c pipeline/cmd/cmd_options.c
STAGE_LIB_C := $(sort $(wildcard stages/kit/*.c stages/text/*.c stages/model/*.c))
STAGE_LIB_CC := $(sort $(wildcard stages/text/*.cc))
STAGES := $(sort $(patsubst stages/%/main.c,%,$(wildcard stages/*/main.c)))
UNIT := $(sort $(patsubst tests/unit/%_test.c,%,$(wildcard tests/unit/*_test.c)))
UNIT_LIB_C := $(filter-out %_test.c,$(sort $(wildcard tests/unit/*.c)))
FUZZ := $(sort $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c)))
BENCH := $(sort $(patsubst tests/bench/%.c,%,$(wildcard tests/bench/*_bench.c)))

objects = $(addprefix $(B)/,$(addsuffix .o,$(basename $(1))))
BASE_O := $(call objects,$(BASE_C))
ENGINE_LIB_O := $(call objects,$(ENGINE_LIB_C))
STAGE_LIB_O := $(call objects,$(STAGE_LIB_C) $(STAGE_LIB_CC))
UNIT_LIB_O := $(call objects,$(UNIT_LIB_C))
PROGRAMS := $(BIN)/fmforge $(BIN)/fmforge-engine $(BIN)/fmforge-ledger $(BIN)/fmforge-remote $(STAGES:%=$(BIN)/stage-%)
UNIT_PROGRAMS := $(UNIT:%=$(B)/unit/%_test)
FUZZ_PROGRAMS := $(FUZZ:%=$(B)/fuzz/%_fuzz)
BENCH_PROGRAMS := $(BENCH:%=$(B)/bench/%)
REF_PROGRAMS := $(B)/ref/model_tool $(B)/ref/ptfile_tool

.PHONY: all test unit fuzz torture lint fmt fmt-check pipeline nightly bench bench-model bench-pipeline portability ref clean help
.DELETE_ON_ERROR:
.PRECIOUS: $(B)/%.o
.SUFFIXES:

# build/bin always points at the release programs.
all: $(PROGRAMS)
ifeq ($(MODE),release)
	$(if $(filter $(realpath $(BIN)),$(realpath build/bin)),,@ln -sfn $(MODE)-$(ID)/bin build/bin)
endif

pipeline: all
	@exec build/bin/fmforge run $(CONFIG)

nightly: all
	@exec build/bin/fmforge nightly

# ------------------------------------------------------------------------------------- the rules
KERNEL_FLAGS :=
$(B)/stages/model/kernels_%.o: KERNEL_FLAGS := -O3
$(B)/stages/model/grid.o $(B)/stages/model/quant.o $(B)/pipeline/store/planes.o: KERNEL_FLAGS := -O3
ifneq ($(filter x86_64-%,$(shell $(CC) -dumpmachine)),)
$(B)/stages/model/kernels_avx2.o: KERNEL_FLAGS := -O3 -mavx2 -mfma -mf16c
AVX512_FLAGS := -O3 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx2 -mfma -mprefer-vector-width=512
$(B)/stages/model/kernels_avx512.o: KERNEL_FLAGS := $(AVX512_FLAGS)
$(B)/stages/model/kernels_amx.o: KERNEL_FLAGS := $(AVX512_FLAGS) -mavx512vbmi -mamx-tile -mamx-int8
endif

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  cc    $<"
	@$(CC) $(ALL_CFLAGS) $(KERNEL_FLAGS) -MMD -MP -c $< -o $@

$(B)/%.o: %.cc
	@mkdir -p $(@D)
	@echo "  c++   $<"
	@$(CXX) $(ALL_CXXFLAGS) -MMD -MP -c $< -o $@

$(B)/base.a: $(BASE_O)
$(B)/engine.a: $(ENGINE_LIB_O)
$(B)/stages.a: $(STAGE_LIB_O)
$(B)/unit.a: $(UNIT_LIB_O)
$(B)/%.a:
	@mkdir -p $(@D)
	@rm -f $@
	@ar rcsD $@ $^

define link
	@mkdir -p $(@D)
	@echo "  link  $(@F)"
	@$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(1)
endef

# Without a library to load, where libc can be linked so. That it links shows that it needs no other.
FRONT_STATIC := $(if $(filter release,$(MODE)),$(if $(filter /%,$(shell $(CC) -print-file-name=libc.a)),-static -no-pie))
$(BIN)/fmforge: $(call objects,$(FRONT_C)) $(B)/engine.a $(B)/base.a
	$(call link,$(FRONT_STATIC))

$(BIN)/fmforge-engine: $(call objects,$(ENGINE_C)) $(B)/engine.a $(B)/base.a
	$(call link,$(LIBS_ENGINE))

# The form in which a run is handed over is known on both sides.
$(BIN)/fmforge-ledger: $(call objects,$(LEDGER_C) pipeline/provenance/run_files.c) $(B)/base.a
	$(call link,$(LIBS_LEDGER))

$(BIN)/fmforge-remote: $(call objects,$(REMOTE_C)) $(B)/engine.a $(B)/base.a
	$(call link,$(LIBS_REMOTE))

define stage_rule
$(BIN)/stage-$(1): $(call objects,$(sort $(wildcard stages/$(1)/*.c))) $(B)/stages.a $(B)/base.a
	$$(call link,$$(LIBS_STAGE))
endef
$(foreach s,$(STAGES),$(eval $(call stage_rule,$(s))))

# The stage of the engine's own tests. Not among the programs.
PROBE := $(B)/probe/stage-probe
$(PROBE): $(call objects,tests/e2e/probe_stage.c) $(B)/stages.a $(B)/base.a
	$(call link,$(LIBS_STAGE))

# The stage of the engine's benchmark.
COPY := $(B)/probe/stage-copy
$(COPY): $(call objects,tests/bench/copy_stage.c) $(B)/stages.a $(B)/base.a
	$(call link,$(LIBS_STAGE))

# Make the Nth file call or allocation of a program fail (LD_PRELOAD); never sanitized themselves.
FAULTS := $(B)/probe/fault_calls.so $(B)/probe/fault_memory.so
$(FAULTS): $(B)/probe/%.so: tests/e2e/%.c
	@mkdir -p $(@D)
	@echo "  link  $(@F)"
	@$(CC) -std=c11 -D_GNU_SOURCE -O1 -fPIC -shared $(WARNINGS) -o $@ $< -ldl

# Times a command; small, so that it adds nothing to what it measures.
TIMER := $(B)/probe/command_time
$(TIMER): $(call objects,tests/bench/command_time.c)
	$(call link,)

# Times the store with large artifacts.
STORE_TIME := $(B)/probe/store_time
$(STORE_TIME): $(call objects,tests/bench/store_time.c) $(B)/engine.a $(B)/base.a
	$(call link,$(LIBS_BASE))

$(B)/unit/%_test: $(B)/tests/unit/%_test.o $(B)/unit.a $(B)/stages.a $(B)/engine.a $(B)/base.a
	$(call link,-Wl$(comma)-Bstatic -lyaml -Wl$(comma)-Bdynamic $(LIBS_STAGE) -lcmocka)
comma := ,

# Each target with a driver: replay.c, or libFuzzer's in MODE=fuzz.
FUZZ_DRIVER := $(call objects,$(if $(filter fuzz,$(MODE)),,tests/fuzz/replay.c) tests/fuzz/fuzz.c tests/fuzz/seed.c)
$(B)/fuzz/%_fuzz: $(B)/tests/fuzz/%_fuzz.o $(FUZZ_DRIVER) $(B)/unit.a $(B)/stages.a $(B)/engine.a $(B)/base.a
	$(call link,$(if $(filter fuzz,$(MODE)),-fsanitize=fuzzer) -Wl$(comma)-Bstatic -lyaml \
	    -Wl$(comma)-Bdynamic $(LIBS_STAGE))

$(B)/fuzz/expand: $(call objects,tests/fuzz/expand.c tests/fuzz/seed.c) $(B)/base.a
	$(call link,$(LIBS_BASE))

$(B)/bench/%: $(B)/tests/bench/%.o $(B)/stages.a $(B)/engine.a $(B)/base.a
	$(call link,-Wl$(comma)-Bstatic -lyaml -Wl$(comma)-Bdynamic $(LIBS_STAGE))

$(B)/ref/%: $(B)/tests/ref/%.o $(B)/stages.a $(B)/engine.a $(B)/base.a
	$(call link,-Wl$(comma)-Bstatic -lyaml -Wl$(comma)-Bdynamic $(LIBS_STAGE))

# ------------------------------------------------------------------------------------- the checks
unit: $(UNIT_PROGRAMS)

test: all $(UNIT_PROGRAMS) $(FUZZ_PROGRAMS) $(REF_PROGRAMS) $(PROBE) $(FAULTS)
	@bash tests/run.sh $(BIN) $(UNIT_PROGRAMS) $(FUZZ_PROGRAMS)

# Looks for new inputs with libFuzzer, SECONDS a target (Clang and its runtime: libclang-rt-dev).
SECONDS ?= 60
ifneq ($(MODE),fuzz)
fuzz:
	@$(MAKE) --no-print-directory MODE=fuzz fuzz
else ifeq ($(wildcard $(shell $(CC) -print-runtime-dir 2>/dev/null)/libclang_rt.fuzzer*.a),)
fuzz:
	@echo 'fuzz: skipped: $(CC) with its libFuzzer runtime is not here (Debian: clang libclang-rt-dev)'
else
fuzz: $(FUZZ_PROGRAMS) $(B)/fuzz/expand
	@bash tests/fuzz/run_fuzz.sh $(B)/fuzz $(SECONDS) $(FUZZ)
endif

# Fails N file calls and N allocations of each kind, kills N times, damages N files, and lets eight runs
# work at once N / 20 times; all calls and allocations with a large N.
N ?= 100
torture: all $(PROBE) $(FAULTS)
	@bash tests/campaigns.sh $(BIN) $(N)

lint:
	@bash tests/lint.sh

C_FILES = $(shell git ls-files '*.c' '*.h' '*.cc')
fmt:
	@clang-format -i $(C_FILES)

fmt-check:
	@clang-format --dry-run -Werror $(C_FILES)

bench: $(BENCH_PROGRAMS)
	@for b in $(BENCH_PROGRAMS); do $$b || exit 1; done

bench-model: all
	@bash tests/bench/model.sh

bench-pipeline: all $(PROBE) $(COPY) $(TIMER) $(STORE_TIME)
	@bash tests/bench/pipeline.sh
	@bash tests/bench/store.sh

portability: all
	@bash tests/portability.sh

ref: all $(REF_PROGRAMS)
	@sh tests/ref/make.sh

clean:
	rm -rf build

help:
	@echo 'make setup       install what is missing (Debian, Ubuntu; Fedora and macOS untested)'
	@echo 'make             build the programs into build/bin'
	@echo 'make pipeline CONFIG=configs/quickstart.yaml   run a manifest'
	@echo 'make nightly     run every manifest of configs/nightly, compare with golden/baselines (worse: Error 3)'
	@echo 'make test        unit and end-to-end tests (MODE=asan: under the sanitizers)'
	@echo 'make torture N=100      fail calls and allocations of the engine, kill it, damage its files'
	@echo 'make fuzz SECONDS=60   look for inputs that break a parser (Clang)'
	@echo 'make lint fmt fmt-check bench bench-model bench-pipeline portability ref clean'

-include $(patsubst %.o,%.d,$(BASE_O) $(ENGINE_LIB_O) $(STAGE_LIB_O) $(UNIT_LIB_O) \
    $(call objects,$(ENGINE_C) $(FRONT_C) $(LEDGER_C) $(REMOTE_C) $(wildcard stages/*/*.c tests/unit/*_test.c tests/fuzz/*.c tests/e2e/*.c \
    tests/bench/*.c tests/ref/*.c)))
endif
