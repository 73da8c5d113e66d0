/*
 * How fast the store is with large artifacts. Used by store.sh.
 *
 *   store_time make KIND BYTES FILE   numbers as weights have them: normally distributed, deviation
 *                                     0.02, from a fixed seed; KIND bf16, fp16, fp32 or noise
 *   store_time hash N FILE            content id: MB/s
 *   store_time put N FILE HOME        into a new store, as a stage's output is: MB/s and ratio
 *   store_time get N FILE HOME        from that store into a file: MB/s
 *   store_time check N FILE HOME      as `fmforge verify` reads it: MB/s
 *
 * MB are 10^6 raw bytes. Two numbers: MB a second, the median of N, and MB a second of processor
 * time (all threads), which says what a core does also where others use the machine.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/store.h"

#define RUNS_MAX 101

static uint64_t random_state = 1;

static uint64_t next_random(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 11;
}

static double uniform(void)
{
    return ((double)next_random() + 0.5) / 9007199254740992.0;
}

static double normal(void)
{
    double radius = sqrt(-2 * log(uniform()));
    return radius * cos(6.283185307179586 * uniform());
}

/* Normal range only; what is below it is zero. Round half to even. */
static uint16_t to_fp16(float v)
{
    uint32_t bits = 0;
    memcpy(&bits, &v, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest < 0x38800000)
        return (uint16_t)sign;
    rest += 0xfff + (rest >> 13 & 1);
    return (uint16_t)(sign | (rest - 0x38000000) >> 13);
}

static uint16_t to_bf16(float v)
{
    uint32_t bits = 0;
    memcpy(&bits, &v, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static int make(const char *kind, uint64_t n_bytes, const char *path, struct err *e)
{
    struct file_out out;
    int rc = file_out_open(&out, path, e);
    if (rc != 0)
        return rc;
    size_t width = str_eq(kind, "fp32") ? 4 : 2;
    for (uint64_t i = 0; i + width <= n_bytes; i += width) {
        unsigned char bytes[4];
        float v = str_eq(kind, "noise") ? 0 : (float)(0.02 * normal());
        if (str_eq(kind, "fp32"))
            bytes_put_f32(bytes, v);
        else if (str_eq(kind, "bf16"))
            bytes_put_u16(bytes, to_bf16(v));
        else if (str_eq(kind, "fp16"))
            bytes_put_u16(bytes, to_fp16(v));
        else
            bytes_put_u16(bytes, (uint16_t)(next_random() >> 30));
        file_out_add(&out, bytes, width);
    }
    return file_out_close(&out, e);
}

/* What one run took. */
struct took {
    double wall, processor;
};

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void start(struct took *t)
{
    *t = (struct took){seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID)};
}

static void stop(struct took *t)
{
    t->wall = seconds(CLOCK_MONOTONIC) - t->wall;
    t->processor = seconds(CLOCK_PROCESS_CPUTIME_ID) - t->processor;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What is measured. */
struct subject {
    const char *path, *home;
    struct content_id id;
    uint64_t n_bytes;
    int (*run)(struct subject *s, struct took *took, struct err *e);
};

static int hash_once(struct subject *s, struct took *took, struct err *e)
{
    start(took);
    int rc = sha256_file(s->path, &s->id, &s->n_bytes, e);
    stop(took);
    return rc;
}

/* The file is first where a stage would have left it. */
static int put_once(struct subject *s, struct took *took, struct err *e)
{
    struct store *store = NULL;
    char *output = NULL;
    int rc = file_remove_tree(s->home, e);
    if (rc == 0)
        rc = store_open(s->home, &store, e);
    if (rc == 0)
        rc = store_temporary(store, &output, e);
    if (rc == 0)
        rc = file_copy_tree(s->path, output, e);
    start(took);
    if (rc == 0)
        rc = store_put_path(store, output, &s->id, NULL, &s->n_bytes, e);
    stop(took);
    store_close(store);
    xfree(output);
    return rc;
}

static void write_bytes(void *context, const void *bytes, size_t n_bytes)
{
    if (fwrite(bytes, 1, n_bytes, context) != n_bytes)
        abort();
}

static int get_once(struct subject *s, struct took *took, struct err *e)
{
    struct store *store = NULL;
    char *to = xasprintf("%s.back", s->home);
    int rc = store_open_read(s->home, &store, e);
    if (rc == 0)
        rc = file_remove_tree(to, e);
    FILE *file = fopen(to, "wb");
    start(took);
    if (rc == 0 && file != NULL)
        rc = store_print(store, s->id.hex, &(struct zfile_sink){write_bytes, file}, e);
    stop(took);
    if (file != NULL)
        fclose(file);
    unlink(to);
    store_close(store);
    xfree(to);
    return rc;
}

static int check_once(struct subject *s, struct took *took, struct err *e)
{
    struct store *store = NULL;
    int rc = store_open_read(s->home, &store, e);
    start(took);
    if (rc == 0)
        rc = store_check_object(store, s->id.hex, NULL, e);
    stop(took);
    store_close(store);
    return rc;
}

static int measure(struct subject *s, int64_t n, struct err *e)
{
    double wall[RUNS_MAX], processor[RUNS_MAX];
    for (int64_t i = 0; i < n; i++) {
        struct took took;
        int rc = s->run(s, &took, e);
        if (rc != 0)
            return rc;
        wall[i] = took.wall;
        processor[i] = took.processor;
    }
    qsort(wall, (size_t)n, sizeof wall[0], by_size);
    qsort(processor, (size_t)n, sizeof processor[0], by_size);
    printf("%.0f %.0f", (double)s->n_bytes / wall[n / 2] / 1e6,
           (double)s->n_bytes / processor[n / 2] / 1e6);
    return 0;
}

static void print_ratio(const struct subject *s)
{
    static const char *const suffixes[] = {"zst", "planes"};
    for (size_t i = 0; i < 2; i++) {
        struct stat st;
        char *path = xasprintf("%s/objects/%.2s/%s.%s", s->home, s->id.hex, s->id.hex, suffixes[i]);
        if (stat(path, &st) == 0)
            printf(" %.3f %s", (double)s->n_bytes / (double)st.st_size, suffixes[i]);
        xfree(path);
    }
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct subject s = {.path = argc > 3 ? argv[3] : NULL, .home = argc > 4 ? argv[4] : NULL};
    uint64_t size = 0;
    int64_t n = 0;
    int rc = 0;
    if (argc == 5 && str_eq(argv[1], "make") && str_to_bytes(argv[3], &size))
        rc = make(argv[2], size, argv[4], &e);
    else if (argc < 4 || !str_to_i64(argv[2], &n) || n < 1 || n > RUNS_MAX)
        rc = err_set(&e, ERR_CONFIG,
                     "usage: store_time make KIND BYTES FILE, or hash N FILE, or "
                     "put, get or check N FILE HOME");
    else {
        s.run = str_eq(argv[1], "put")     ? put_once
                : str_eq(argv[1], "get")   ? get_once
                : str_eq(argv[1], "check") ? check_once
                                           : hash_once;
        struct took ignored;
        if (s.run == get_once || s.run == check_once)
            rc = hash_once(&s, &ignored, &e);
        if (rc == 0)
            rc = measure(&s, n, &e);
        if (rc == 0 && s.run == put_once)
            print_ratio(&s);
        printf("\n");
    }
    if (rc != 0)
        fprintf(stderr, "store_time: %s\n", e.text);
    return rc == 0 ? 0 : 1;
}
