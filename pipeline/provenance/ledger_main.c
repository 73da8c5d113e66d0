/* fmforge-ledger: the git work of fmforge, in a process of its own (the only one with libgit2). An
 * error is one line on stderr and {"code","error"} on stdout, for the program that asked. */

#include <stdio.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/json.h"
#include "pipeline/base/str.h"
#include "pipeline/provenance/ledger_verbs.h"

#ifdef __SANITIZE_ADDRESS__
/* libgit2 1.5 forgets a match buffer when a repository has an extension that it does not know. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libpcre2\n";
}
#endif

static void print_error(const struct err *e)
{
    fprintf(stderr, "fmforge-ledger: %s\n", e->text);
    struct json *v = json_new_object();
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_put_i64(v, "code", e->code);
    json_put(v, "error", ledger_text(e->text));
    json_write_canonical(v, &b);
    puts(buf_text(&b));
    buf_release(&b);
    json_free(v);
}

int main(int argc, char **argv)
{
    file_fill_streams();
    struct buf out;
    struct err e = {0};
    buf_init(&out, BUF_MAX_DEFAULT);
    int rc = 0;
    if (argc < 2 || str_eq(argv[1], "--help"))
        ledger_help(&out);
    else
        rc = ledger_verb(argc - 1, argv + 1, &out, &e);
    if (rc != 0)
        print_error(&e);
    else
        fwrite(out.bytes, 1, out.n_bytes, stdout);
    buf_release(&out);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "fmforge-ledger: standard output cannot be written\n");
        return 1;
    }
    return rc != 0 ? err_exit_status(&e) : argc < 2 ? 2 : 0;
}
