#include "stages/model/compute.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "pipeline/base/check.h"
#include "pipeline/base/size.h"
#include "stages/model/kernels.h"

const char *const compute_precision_names[] = {"f32",  "int16",     "bf16-mixed",
                                               "bf16", "f16-mixed", NULL};

enum compute_precision compute_precision_of(int choice)
{
    return choice == COMPUTE_F32 ? COMPUTE_F32 : COMPUTE_INT16;
}

const char *compute_precision_note(int choice)
{
    return choice > COMPUTE_INT16
               ? "a precision of Apple's toolkit: int16 here, as fast and nearer to fp32"
               : NULL;
}

/* Best last. */
static const struct kernels *const all_kernels[] = {
    &kernels_portable,
#if defined(__x86_64__)
    &kernels_avx2,     &kernels_avx512, &kernels_amx,
#endif
#if defined(__aarch64__)
    &kernels_neon,
#endif
};
#define N_KERNELS (sizeof all_kernels / sizeof all_kernels[0])

#if defined(__x86_64__)
/* __builtin_cpu_supports of clang 14 does not know it. */
static bool cpu_has_f16c(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

static bool cpu_has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma");
}

/* AMX-TILE and AMX-INT8 (leaf 7: EDX bits 24, 25), and the kernel lets this process have the tiles'
 * state, which it wants to be asked for (Linux 5.16: Documentation/arch/x86/xstate.rst). */
static bool cpu_has_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    unsigned a = 0, b = 0, c = 0, d = 0, both = 1u << 24 | 1u << 25;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & both) == both &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
#endif

static bool cpu_runs(const struct kernels *k)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (k == &kernels_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpu_has_f16c();
    if (k == &kernels_avx512)
        return cpu_has_avx512();
    if (k == &kernels_amx)
        return cpu_has_avx512() && __builtin_cpu_supports("avx512vbmi") && cpu_has_tiles();
#endif
    (void)k;
    return true;
}

static const struct kernels *find_kernels(const char *name)
{
    const struct kernels *found = NULL;
    for (size_t i = 0; i < N_KERNELS; i++)
        if ((strcmp(name, "auto") == 0 || strcmp(name, all_kernels[i]->name) == 0) &&
            cpu_runs(all_kernels[i]))
            found = all_kernels[i];
    return found;
}

bool compute_has(const char *kernels_name)
{
    return find_kernels(kernels_name) != NULL;
}

int compute_open(struct compute *c, int n_threads, const char *kernels_name, struct err *e)
{
    CHECK(n_threads >= 1);
    memset(c, 0, sizeof *c);
    const struct kernels *k = find_kernels(kernels_name);
    if (!k)
        return err_set(e, ERR_CONFIG, "kernels \"%s\" are not available on this CPU (try auto)",
                       kernels_name);
    c->pack_floats = size_align(GEMM_PACK_FLOATS, 1024);
    size_t bytes = size_mul(size_mul(c->pack_floats, sizeof *c->pack), (size_t)n_threads);
    int status = arena_reserve(&c->space, "packing", arena_cost(bytes), e);
    if (status < 0)
        return status;
    c->pack = arena_take(&c->space, bytes);
    c->kernels = k;
    c->pool = thread_pool_open(n_threads);
    return 0;
}

void compute_close(struct compute *c)
{
    thread_pool_close(c->pool);
    arena_release(&c->space);
    memset(c, 0, sizeof *c);
}

const char *compute_kernels_name(const struct compute *c)
{
    return c->kernels->name;
}

struct block_loop {
    size_t n_elements, item_elements;
    void (*fn)(void *context, size_t first, size_t n);
    void *context;
};

static void block_item(void *context, size_t i, int i_thread)
{
    (void)i_thread;
    const struct block_loop *b = context;
    size_t first = i * b->item_elements;
    size_t left = b->n_elements - first;
    b->fn(b->context, first, left < b->item_elements ? left : b->item_elements);
}

void compute_blocks(struct compute *c, size_t n_elements,
                    void (*fn)(void *context, size_t first, size_t n), void *context)
{
    if (n_elements <= 4 * COMPUTE_BLOCK) {
        if (n_elements > 0)
            fn(context, 0, n_elements);
        return;
    }
    struct block_loop b = {n_elements, 4 * COMPUTE_BLOCK, fn, context};
    size_t n_items = (n_elements + b.item_elements - 1) / b.item_elements;
    thread_pool_run(c->pool, n_items, block_item, &b);
}

struct sum_loop {
    size_t n_elements, first_block, n_blocks;
    double (*fn)(void *context, size_t first, size_t n);
    void *context;
    double *partial; /* one per block */
};

#define SUM_ITEM_BLOCKS 8

static void sum_item(void *context, size_t i, int i_thread)
{
    (void)i_thread;
    const struct sum_loop *s = context;
    for (size_t b = i * SUM_ITEM_BLOCKS; b < (i + 1) * SUM_ITEM_BLOCKS && b < s->n_blocks; b++) {
        size_t first = (s->first_block + b) * COMPUTE_BLOCK;
        size_t left = s->n_elements - first;
        s->partial[b] = s->fn(s->context, first, left < COMPUTE_BLOCK ? left : COMPUTE_BLOCK);
    }
}

double compute_block_sum(struct compute *c, size_t n_elements,
                         double (*fn)(void *context, size_t first, size_t n), void *context)
{
    /* The packing space of one thread holds the partial sums of a billion elements; beyond
     * that, rounds. */
    size_t round_blocks = c->pack_floats * sizeof(float) / sizeof(double);
    size_t n_blocks = (n_elements + COMPUTE_BLOCK - 1) / COMPUTE_BLOCK;
    double sum = 0;
    for (size_t first = 0; first < n_blocks; first += round_blocks) {
        size_t here = n_blocks - first < round_blocks ? n_blocks - first : round_blocks;
        struct sum_loop s = {n_elements, first, here, fn, context, (double *)(void *)c->pack};
        size_t n_items = (here + SUM_ITEM_BLOCKS - 1) / SUM_ITEM_BLOCKS;
        if (n_items == 1)
            sum_item(&s, 0, 0);
        else
            thread_pool_run(c->pool, n_items, sum_item, &s);
        for (size_t b = 0; b < here; b++)
            sum += s.partial[b];
    }
    return sum;
}

struct row_loop {
    int m, item_rows;
    void (*fn)(void *context, int first, int n);
    void *context;
};

static void row_item(void *context, size_t i, int i_thread)
{
    (void)i_thread;
    const struct row_loop *r = context;
    int first = (int)i * r->item_rows;
    r->fn(r->context, first, r->m - first < r->item_rows ? r->m - first : r->item_rows);
}

void compute_rows(struct compute *c, int m, size_t row_floats,
                  void (*fn)(void *context, int first, int n), void *context)
{
    if (m <= 0)
        return;
    size_t rows = row_floats >= 8192 ? 1 : 8192 / (row_floats + 1) + 1;
    if ((size_t)m <= rows) {
        fn(context, 0, m);
        return;
    }
    struct row_loop r = {m, (int)rows, fn, context};
    thread_pool_run(c->pool, ((size_t)m + rows - 1) / rows, row_item, &r);
}
