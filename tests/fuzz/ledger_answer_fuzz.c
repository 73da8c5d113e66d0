/* What fmforge-ledger prints (pipeline/provenance/ledger_client.h), and the record of a run that is
 * taken from it (runs.h). The bytes are an answer; the helper that failed with the same bytes is
 * tried too. */

#include <string.h>
#include <unistd.h>

#include "pipeline/base/check.h"
#include "pipeline/base/str.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/provenance/runs.h"
#include "tests/fuzz/fuzz.h"

#define EXIT_1 (1 << 8) /* as waitpid gives it */
#define SIGNAL_9 9

static void use_record(struct run_record *r)
{
    static const char id[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct json *damage = json_new_array();
    const struct json *output = NULL;
    CHECK(r->commit != NULL && r->name != NULL && json_type(r->root) == JSON_OBJECT);
    (void)run_record_check(r, damage);
    (void)run_record_producer(r, id, "one", &output);
    for (const struct json *t = json_items(r->root, "stages"); t != NULL; t = json_next(t))
        (void)run_item_of_kind(t, "outputs", "text");
    json_free(damage);
}

/* The answer that ends well; whether it is a record too. */
static bool try_answer(const struct buf *bytes)
{
    struct json *answer = NULL;
    struct run_record r = {0};
    struct err e = {0};
    if (ledger_answer(bytes, 0, -1, &answer, &e) != 0) {
        CHECK(answer == NULL && e.code == ERR_FORMAT);
        return false;
    }
    bool taken = run_record_take(answer, &r, &e) == 0;
    if (taken)
        use_record(&r);
    run_record_release(&r);
    return taken;
}

static void try_failure(const struct buf *bytes, int status)
{
    struct json *answer = NULL;
    struct err e = {0};
    CHECK(ledger_answer(bytes, status, -1, &answer, &e) < 0);
    CHECK(answer == NULL && str_starts(e.text, "ledger: "));
}

/* The list of runs has a line for each that executed nothing. */
static void try_runs_log(const char *path)
{
    const struct ledger none = {"", "/nonexistent"};
    struct json *list = NULL;
    struct err e = {0};
    CHECK(runs_list(&none, path, NULL, &list, &e) == 0);
    for (const struct json *v = json_first(list); v != NULL; v = json_next(v))
        CHECK(json_find_text(v, "name") != NULL && json_find_text(v, "summary") != NULL);
    json_free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_add(&b, data, n_bytes);
    fuzz_taken = try_answer(&b);
    try_failure(&b, EXIT_1);
    try_failure(&b, SIGNAL_9);
    try_runs_log(fuzz_file(data, n_bytes));
    buf_release(&b);
    return 0;
}
