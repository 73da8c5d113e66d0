/*
 * The driver of `make test`: every seed of tests/fuzz/corpus/<parser> goes through the target, then
 * mutations of them made from a fixed seed, so that a failure comes back. With arguments: only
 * those files (a crash that was written down, or seeds).
 *
 * A seed named good_* must be taken and one named bad_* refused; others may be either.
 *
 * The work is done in a child process. When it ends in any way but well, the parent says at which
 * input, writes that input beside the program as <program>.crash, and fails.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/seed.h"

#define MUTATIONS 2000
#define INPUT_BYTES_MAX ((size_t)1 << 16)

/* Shared with the child: what it is at. */
struct progress {
    char name[128];
    int mutation; /* 0: the seed itself */
    int n_passed;
    int n_failed;
    size_t n_bytes;
    unsigned char bytes[INPUT_BYTES_MAX];
};

/* ---- mutations ---- */

/* SplitMix64: the same everywhere. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(uint64_t *state, size_t n)
{
    return n == 0 ? 0 : (size_t)(next_random(state) % n);
}

/* Puts n bytes in front of bytes[at]; what does not fit falls off the end. */
static void insert(struct progress *p, size_t at, const unsigned char *from, size_t n)
{
    unsigned char *copy = xalloc(n);
    if (n > INPUT_BYTES_MAX - at)
        n = INPUT_BYTES_MAX - at;
    memcpy(copy, from, n);
    size_t tail = p->n_bytes - at;
    if (tail > INPUT_BYTES_MAX - at - n)
        tail = INPUT_BYTES_MAX - at - n;
    memmove(p->bytes + at + n, p->bytes + at, tail);
    memcpy(p->bytes + at, copy, n);
    p->n_bytes = at + n + tail;
    xfree(copy);
}

/* A number where one could be: 1, 4 or 8 bytes little endian. */
static void put_number(struct progress *p, uint64_t *state)
{
    static const uint64_t numbers[] = {0,          1,          0x7f,       0x80,       0xff,
                                       0x7fff,     0x8000,     0x7fffffff, 0x80000000, 0xffffffff,
                                       1ull << 53, 1ull << 62, INT64_MAX,  1ull << 63, UINT64_MAX};
    static const size_t widths[] = {1, 4, 8};
    uint64_t v = numbers[below(state, sizeof numbers / sizeof numbers[0])];
    size_t width = widths[below(state, 3)];
    size_t at = below(state, p->n_bytes);
    for (size_t i = 0; i < width && at + i < p->n_bytes; i++)
        p->bytes[at + i] = (unsigned char)(v >> (8 * i));
}

/* A piece of text that means something to one of the parsers. */
static void put_word(struct progress *p, uint64_t *state)
{
    static const char *const words[] = {
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "\\u0000",
        "\\ud800",
        "-0",
        "1e999",
        "1e20",
        "0.0000000000000000000000000000000000000000000000000000000000000001",
        "9007199254740993",
        "null",
        "true",
        "\n",
        "\t",
        "- ",
        "#",
        "&a",
        "*a",
        "!!",
        "<<: ",
        "---\n",
        "$name",
        "${",
        "\xEF\xBB\xBF",
        "\xC3",
        "\xE2\x96\x81",
        "''",
        "|\n",
        "a: ",
        "..",
        "/"};
    const char *word = words[below(state, sizeof words / sizeof words[0])];
    insert(p, below(state, p->n_bytes + 1), (const unsigned char *)word, strlen(word));
}

static void mutate(struct progress *p, const struct seed_list *seeds, uint64_t *state)
{
    size_t at = below(state, p->n_bytes);
    size_t n = 1 + below(state, p->n_bytes - at < 64 ? p->n_bytes - at : 64);
    if (n > p->n_bytes - at)
        n = p->n_bytes - at;
    const struct buf *other = &seeds->seeds[below(state, seeds->n_seeds)].bytes;
    switch (below(state, 9)) {
    case 0:
    case 1:
        if (p->n_bytes > 0)
            p->bytes[at] ^= (unsigned char)(1u << below(state, 8));
        break;
    case 2:
        if (p->n_bytes > 0)
            p->bytes[at] = (unsigned char)next_random(state);
        break;
    case 3:
        p->n_bytes = at;
        break;
    case 4: /* cut out */
        memmove(p->bytes + at, p->bytes + at + n, p->n_bytes - at - n);
        p->n_bytes -= n;
        break;
    case 5: /* twice */
        insert(p, at, p->bytes + at, n);
        break;
    case 6: /* a piece of another seed */
        if (other->n_bytes > 0) {
            size_t from = below(state, other->n_bytes);
            size_t most = other->n_bytes - from < 256 ? other->n_bytes - from : 256;
            insert(p, at, (const unsigned char *)other->bytes + from, 1 + below(state, most));
        }
        break;
    case 7:
        put_number(p, state);
        break;
    default:
        put_word(p, state);
    }
}

/* ---- running ---- */

static void run_input(const struct progress *p)
{
    /* Exactly as long as the input, so that the sanitizer sees a byte too far. */
    unsigned char *copy = xalloc(p->n_bytes == 0 ? 1 : p->n_bytes);
    memcpy(copy, p->bytes, p->n_bytes);
    fuzz_taken = false;
    CHECK(LLVMFuzzerTestOneInput(copy, p->n_bytes) == 0);
    xfree(copy);
}

static void take_seed(struct progress *p, const struct seed *s)
{
    snprintf(p->name, sizeof p->name, "%s", s->name);
    p->n_bytes = s->bytes.n_bytes < INPUT_BYTES_MAX ? s->bytes.n_bytes : INPUT_BYTES_MAX;
    if (p->n_bytes > 0)
        memcpy(p->bytes, s->bytes.bytes, p->n_bytes);
}

static void run_seeds(struct progress *p, const struct seed_list *seeds)
{
    for (size_t i = 0; i < seeds->n_seeds; i++) {
        take_seed(p, &seeds->seeds[i]);
        run_input(p);
        bool wrong = (str_starts(p->name, "good_") && !fuzz_taken) ||
                     (str_starts(p->name, "bad_") && fuzz_taken);
        if (wrong)
            printf("%s: %s\n", p->name, fuzz_taken ? "taken" : "refused");
        p->n_passed += !wrong;
        p->n_failed += wrong;
    }
}

static void run_mutations(struct progress *p, const struct seed_list *seeds)
{
    uint64_t state = 1;
    int n_taken = 0;
    for (int i = 1; i <= MUTATIONS; i++) {
        take_seed(p, &seeds->seeds[(size_t)i % seeds->n_seeds]);
        p->mutation = i;
        size_t n = 1 + below(&state, 4);
        for (size_t k = 0; k < n; k++)
            mutate(p, seeds, &state);
        run_input(p);
        n_taken += fuzz_taken;
    }
    p->n_passed++;
    printf("%d mutations, %d of them taken\n", MUTATIONS, n_taken);
}

static int read_seeds(struct seed_list *seeds, int argc, char **argv, struct err *e)
{
    if (argc > 1) {
        *seeds = (struct seed_list){.seeds = xalloc_array((size_t)argc, sizeof(struct seed))};
        for (int i = 1; i < argc; i++, seeds->n_seeds++) {
            int rc = seed_read(&seeds->seeds[i - 1], argv[i], e);
            if (rc != 0)
                return rc;
        }
        return 0;
    }
    const char *program = file_base_name(argv[0]);
    if (!str_ends(program, "_fuzz"))
        return err_set(e, ERR_MISSING, "%s: expected a program named PARSER_fuzz", program);
    char folder[256];
    snprintf(folder, sizeof folder, "tests/fuzz/corpus/%.*s", (int)(strlen(program) - 5), program);
    return seed_list_read(seeds, folder, e);
}

/* The child: what it returns is its exit status. */
static int work(struct progress *p, int argc, char **argv)
{
    struct seed_list seeds = {0};
    struct err e = {0};
    if (read_seeds(&seeds, argc, argv, &e) != 0) {
        printf("%s\n", e.text);
        seed_list_release(&seeds);
        p->n_failed++;
        return 1;
    }
    run_seeds(p, &seeds);
    if (argc == 1)
        run_mutations(p, &seeds);
    seed_list_release(&seeds);
    return 0;
}

static void report_crash(const struct progress *p, const char *program, int status)
{
    char path[512];
    struct err e = {0};
    printf("%s: ended with %s %d at seed %s, mutation %d\n", file_base_name(program),
           WIFSIGNALED(status) ? "signal" : "status",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), p->name, p->mutation);
    snprintf(path, sizeof path, "%s.crash", program);
    if (file_write(path, p->bytes, p->n_bytes, &e) == 0)
        printf("its input is in %s\n", path);
    else
        printf("%s\n", e.text);
}

int main(int argc, char **argv)
{
    struct progress *p =
        mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(p != MAP_FAILED);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        exit(work(p, argc, argv));
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        CHECK(errno == EINTR);
    bool crashed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (crashed && p->n_failed == 0) {
        report_crash(p, argv[0], status);
        p->n_failed++;
    }
    fuzz_folder_remove((long)child);
    printf("[  PASSED  ] %d test(s).\n", p->n_passed);
    if (p->n_failed > 0)
        printf("[  FAILED  ] %d test(s).\n", p->n_failed);
    return p->n_failed > 0 || crashed;
}
