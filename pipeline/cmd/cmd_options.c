/* What commands ask of their options. The front program has these, and no more of a command. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/cmd/cmd.h"
#include "pipeline/cmd/run_flags.h"

int cmd_check_kernels(const char *name, struct err *e)
{
    static const char *const known[] = {"auto", "portable", "avx2", "avx512", "amx", "neon"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (str_eq(name, known[i]))
            return 0;
    return err_set(e, ERR_CONFIG,
                   "--kernels: expected auto, portable, avx2, avx512, amx or neon, found \"%s\"",
                   name);
}

int cmd_need_name(const char *flag, const char *path, struct err *e)
{
    return *path ? 0 : err_set(e, ERR_CONFIG, "%s: expected a folder, found nothing", flag);
}

int cmd_enter(const struct cmd_common *common, struct err *e)
{
    if (cmd_need_name("--home", common->home, e) < 0)
        return ERR_CONFIG;
    if (common->folder && chdir(common->folder) != 0)
        return err_set(e, ERR_CONFIG, "-C %s: no such folder, or it cannot be entered",
                       common->folder);
    return 0;
}

int cmd_check_counts(int64_t jobs, int64_t threads, struct err *e)
{
    if (jobs < 1 || jobs > LIMIT_THREADS)
        return err_set(e, ERR_CONFIG, "-j: expected 1 to %d, found %lld", LIMIT_THREADS,
                       (long long)jobs);
    if (threads < 0 || threads > LIMIT_THREADS)
        return err_set(e, ERR_CONFIG, "--threads: expected 0 (one per CPU) to %d, found %lld",
                       LIMIT_THREADS, (long long)threads);
    return 0;
}

int cmd_need_file(const char *flag, const char *path, const char *expected, struct err *e)
{
    struct stat st;
    if (path == NULL)
        return 0;
    if (stat(path, &st) != 0)
        return err_set(e, ERR_CONFIG, "%s %s: %s; expected %s", flag, path,
                       errno == ENOENT ? "no such file" : strerror(errno), expected);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_CONFIG, "%s %s: %s; expected %s", flag, path,
                       S_ISDIR(st.st_mode) ? "a folder" : "no regular file", expected);
    return 0;
}

int run_flags_parse(int argc, char **argv, struct run_flags *f, struct err *e)
{
    const struct flag flags[] = {RUN_FLAGS(*f)};
    int rc = flag_parse(argc, argv, flags, sizeof flags / sizeof flags[0], &f->path, 1, &f->n_paths,
                        &f->help, e);
    if (rc == 0 && !f->help && f->n_paths != 1)
        rc = err_set(e, ERR_CONFIG, "run: expected a manifest, e.g. configs/quickstart.yaml");
    if (rc < 0 || f->help)
        return rc;
    rc = cmd_check_counts(f->jobs, f->threads, e);
    if (rc == 0)
        rc = cmd_check_kernels(f->kernels, e);
    if (rc == 0)
        rc = cmd_need_name("--out", f->out_root, e);
    return rc < 0 ? rc : cmd_need_name("--reports", f->reports_root, e);
}
