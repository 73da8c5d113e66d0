/*
 * fmforge: the program that people start. It answers a `run` with nothing to do, and becomes
 * fmforge-engine, which lies beside it, for everything else. It is small and linked to nothing but
 * libc, statically where that can be: loading the engine takes longer than such a run.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pipeline/base/clock.h"
#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/cmd/run_flags.h"
#include "pipeline/engine/instant.h"

#define ENGINE "/fmforge-engine"

static void write_out(const char *text, size_t n_bytes)
{
    fwrite(text, 1, n_bytes, stdout);
}

/* 0 or 1, the exit status, when there was nothing to do; negative: the engine looks. */
static int ask(int argc, char **argv, const char *folder, double started_ms)
{
    struct run_flags f = RUN_FLAGS_INIT;
    struct err ignored = {0};
    if (run_flags_parse(argc, argv, &f, &ignored) < 0 || f.help || f.common.json || f.record ||
        f.events)
        return -1;
    struct err e = {0};
    int here = f.common.folder ? open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (f.common.folder && (here < 0 || cmd_enter(&f.common, &e) < 0))
        return -1; /* the same error from the engine: nothing was entered */
    const struct term term = {write_out, write_out, false, 80};
    const struct instant in = {f.path,       f.common.home,  folder, f.out_root,
                               f.sets.items, f.sets.n_items, 0};
    bool done =
        cmd_need_file("--sign", f.sign_key, "", &e) == 0 && instant_run(&in, &term, started_ms);
    if (done && fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    if (done) {
        fprintf(stderr, "fmforge: standard output cannot be written\n");
        return 1;
    }
    return here >= 0 && fchdir(here) != 0 ? 1 : -1;
}

int main(int argc, char **argv)
{
    file_fill_streams();
    double started_ms = clock_ms();
    char engine[LIMIT_PATH_BYTES + sizeof ENGINE];
    ssize_t n = readlink("/proc/self/exe", engine, LIMIT_PATH_BYTES - 1);
    char *slash = n > 0 ? memrchr(engine, '/', (size_t)n) : NULL;
    if (!slash) {
        fprintf(stderr,
                "fmforge: /proc/self/exe cannot be read: where the program is is unknown\n");
        return 1;
    }
    *slash = '\0';
    int status = -1;
    if (argc > 1 && str_eq(argv[1], "run"))
        status = ask(argc - 1, argv + 1, engine, started_ms);
    if (status >= 0)
        return status;
    memcpy(slash, ENGINE, sizeof ENGINE);
    execv(engine, argv);
    fprintf(stderr,
            "fmforge: %s: cannot be started: %s; it belongs beside this program: build both\n",
            engine, strerror(errno));
    return 1;
}
