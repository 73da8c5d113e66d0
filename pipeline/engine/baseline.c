#include "pipeline/engine/baseline.h"

#include <math.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/report.h"

/* A run whose gates do not hold cannot be accepted: the file must go first. */
#define REMEDY "put it back with git, or remove it and accept a run"

char *baseline_path(const char *manifest, const char *instance)
{
    return xasprintf(BASELINE_ROOT "/%s/%s.json", manifest, instance);
}

/* Every member is a number of at least `least`. */
static int check_numbers(const struct json *o, const char *what, double least, struct err *e)
{
    for (const struct json *v = json_first(o); v; v = json_next(v))
        if (json_type(v) != JSON_NUMBER || json_number(v) < least)
            return err_set(e, ERR_FORMAT, "%s: \"%s\" is no number of at least %g", what,
                           json_key(v), least);
    return 0;
}

/* Files of earlier versions do not say whose they are. */
static int check_owner(const struct json *root, const char *key, const char *wanted, struct err *e)
{
    const char *name = wanted;
    int rc = json_get(root, key) ? json_need_string(root, key, &name, e) : 0;
    if (rc == 0 && !str_eq(name, wanted))
        rc = err_set(e, ERR_FORMAT, "a baseline of the %s %s, not of %s", key, name, wanted);
    return rc;
}

static int check(const struct json *root, const char *manifest, const char *instance, struct err *e)
{
    static const char *const keys[] = {"schema", "manifest", "instance", "golden",
                                       "runs",   "rows",     "metrics",  "spread"};
    const struct json *metrics = NULL, *spread = NULL, *runs = NULL;
    const char *golden = NULL;
    int64_t schema = 0, rows = 0;
    int rc = json_only_keys(root, keys, sizeof keys / sizeof keys[0], e);
    if (rc == 0)
        rc = json_need_i64(root, "schema", &schema, e);
    if (rc == 0 && schema != 1)
        rc = err_set(e, ERR_FORMAT, "a baseline of schema %lld, this program knows 1 only",
                     (long long)schema);
    if (rc == 0)
        rc = check_owner(root, "manifest", manifest, e);
    if (rc == 0)
        rc = check_owner(root, "instance", instance, e);
    if (rc == 0)
        rc = json_need_string(root, "golden", &golden, e);
    if (rc == 0)
        rc = json_need_array(root, "runs", &runs, e);
    if (rc == 0)
        rc = json_need_i64(root, "rows", &rows, e);
    if (rc == 0 && rows < 1)
        rc = err_set(e, ERR_FORMAT, "\"rows\": expected 1 or more, found %lld", (long long)rows);
    if (rc == 0)
        rc = json_need_object(root, "metrics", &metrics, e);
    if (rc == 0)
        rc = check_numbers(metrics, "metrics", -1e300, e);
    if (rc == 0 && json_get(root, "spread"))
        rc = json_need_object(root, "spread", &spread, e);
    return rc == 0 && spread ? check_numbers(spread, "spread", 0, e) : rc;
}

int baseline_read_any(struct baseline *b, const char *manifest, const char *instance, struct err *e)
{
    struct err cause = {0};
    memset(b, 0, sizeof *b);
    b->path = baseline_path(manifest, instance);
    int rc = file_exists(b->path) ? json_read(b->path, &b->root, &cause) : 0;
    if (rc == 0 && b->root && check(b->root, manifest, instance, &cause) < 0)
        rc = err_wrap(&cause, "%s", b->path);
    if (rc < 0)
        rc = err_set(e, cause.code, "%s: " REMEDY, cause.text);
    if (rc < 0 || !b->root)
        baseline_release(b);
    b->metrics = json_get(b->root, "metrics");
    return rc;
}

int baseline_read(struct baseline *b, const char *manifest, const char *instance,
                  const char *golden_id, struct err *e)
{
    int rc = baseline_read_any(b, manifest, instance, e);
    b->is_of_another_set =
        b->root && (!golden_id || !str_eq(json_find_text(b->root, "golden"), golden_id));
    if (b->is_of_another_set)
        b->metrics = NULL;
    return rc;
}

void baseline_release(struct baseline *b)
{
    json_free(b->root);
    xfree(b->path);
    memset(b, 0, sizeof *b);
}

int baseline_check_share(const struct baseline *b, const char *metric, double value, struct err *e)
{
    double was = json_number_or(b->metrics, metric, value);
    /* 0 and 1 may be counts, which are shown and not judged. */
    if (value <= 0 || value >= 1 || (was >= 0 && was <= 1))
        return 0;
    return err_set(
        e, ERR_FORMAT,
        "%s: metrics: \"%s\" is %.6g, and %.6g in this run: expected a share from 0 to 1, "
        "where 0.5 is 50 %%: " REMEDY,
        b->path, metric, was, value);
}

double baseline_allowed(const struct baseline *b, const char *metric)
{
    double rows = json_number_or(b->root, "rows", 1), p = json_number_or(b->metrics, metric, 0);
    double spread = json_number_or(json_get(b->root, "spread"), metric, -1);
    double n_runs = (double)json_count(json_get(b->root, "runs"));
    double smooth = (p * rows + 1) / (rows + 2); /* 100 of 100 is not certainty */
    double allowed = n_runs >= BASELINE_RUNS_FOR_SPREAD && spread >= 0
                         ? 4 * spread * sqrt(1 + 1 / n_runs)
                         : 2 * sqrt(2 * smooth * (1 - smooth) / rows);
    allowed = allowed < 1 ? allowed : 1;
    return allowed > 1 / rows ? allowed : 1 / rows;
}

/* --- accepting ---------------------------------------------------------------------------------
 */

static const char *golden_id(const struct json *stage)
{
    const struct json *golden = run_item_of_kind(stage, "inputs", "golden");
    return json_find_text(golden, "id");
}

/* Metrics of one stage in every run: ERR_MISSING or ERR_CONFIG when a run lacks them. */
static int collect(const struct run_record *runs, size_t n_runs, struct store *s,
                   const struct json *stage, struct json **metrics, struct err *e)
{
    const char *name = json_find_text(stage, "stage");
    for (size_t k = 0; k < n_runs; k++) {
        const struct json *t = run_record_stage(&runs[k], name);
        const char *golden = t ? golden_id(t) : NULL;
        if (!golden || !str_eq(golden, golden_id(stage)))
            return err_set(e, ERR_CONFIG,
                           "run %.12s: its stage %s answers another golden set, or none",
                           runs[k].commit, name);
        metrics[k] = report_output(s, t, "metrics", NULL);
        if (!metrics[k])
            return err_set(e, ERR_MISSING, "run %.12s: the store has no metrics of %s",
                           runs[k].commit, name);
        if (json_number_or(metrics[k], "rows", 0) < 1)
            return err_set(e, ERR_FORMAT, "run %.12s: the metrics of %s do not say how many rows",
                           runs[k].commit, name);
    }
    return 0;
}

/* A metric that every run has; running means, so that equal values have themselves as mean. */
static void add_metric(struct json *const *metrics, size_t n_runs, const char *name,
                       struct json *means, struct json *spreads)
{
    double mean = 0, squares = 0;
    for (size_t k = 0; k < n_runs; k++) {
        const struct json *v = json_get(metrics[k], name);
        if (!v || json_type(v) != JSON_NUMBER)
            return;
        mean += (json_number(v) - mean) / (double)(k + 1);
    }
    for (size_t k = 0; k < n_runs; k++) {
        double off = json_number_or(metrics[k], name, 0) - mean;
        squares += off * off;
    }
    json_put_f64(means, name, mean);
    if (n_runs > 1)
        json_put_f64(spreads, name, sqrt(squares / (double)(n_runs - 1)));
}

static struct json *make(const struct run_record *runs, size_t n_runs, const struct json *stage,
                         struct json *const *metrics)
{
    struct json *root = json_new_object(), *commits = json_new_array();
    struct json *means = json_new_object(), *spreads = json_new_object();
    json_put_i64(root, "schema", 1);
    json_put_string(root, "manifest", runs[0].name);
    json_put_string(root, "instance", json_find_text(stage, "stage"));
    json_put_string(root, "golden", golden_id(stage));
    for (size_t k = 0; k < n_runs; k++)
        json_append(commits, json_new_string(runs[k].commit));
    json_put(root, "runs", commits);
    json_put_i64(root, "rows", (int64_t)json_number_or(metrics[0], "rows", 1));
    for (const struct json *m = json_first(metrics[0]); m; m = json_next(m))
        if (json_type(m) == JSON_NUMBER && !str_eq(json_key(m), "rows"))
            add_metric(metrics, n_runs, json_key(m), means, spreads);
    json_put(root, "metrics", means);
    if (n_runs > 1)
        json_put(root, "spread", spreads);
    else
        json_free(spreads);
    return root;
}

/* The baseline of one stage; *out is owned by the caller. */
static int make_stage(const struct run_record *runs, size_t n_runs, struct store *s,
                      const struct json *stage, struct json **out, struct err *e)
{
    struct json **metrics = xalloc_array(n_runs, sizeof(struct json *));
    int rc = collect(runs, n_runs, s, stage, metrics, e);
    *out = rc == 0 ? make(runs, n_runs, stage, metrics) : NULL;
    for (size_t k = 0; k < n_runs; k++)
        json_free(metrics[k]);
    xfree(metrics);
    return rc;
}

static int check_runs(const struct run_record *runs, size_t n_runs, struct err *e)
{
    for (size_t k = 0; k < n_runs; k++) {
        const char *status = json_find_text(runs[k].root, "status");
        if (!str_eq(runs[k].name, runs[0].name))
            return err_set(e, ERR_CONFIG,
                           "run %.12s is one of %s, run %.12s one of %s: one manifest at a time",
                           runs[0].commit, runs[0].name, runs[k].commit, runs[k].name);
        if (!status || !str_eq(status, "ok"))
            return err_set(e, ERR_CONFIG,
                           "run %.12s ended with `%s`: only runs without a failure and with every "
                           "gate held can be accepted",
                           runs[k].commit, status ? status : "?");
        for (size_t i = 0; i < k; i++)
            if (str_eq(runs[i].commit, runs[k].commit))
                return err_set(e, ERR_CONFIG, "run %.12s is given twice", runs[k].commit);
    }
    return 0;
}

static int publish(const char *manifest, const struct json *list, struct err *e)
{
    int rc = 0;
    for (const struct json *v = json_first(list); v && rc == 0; v = json_next(v)) {
        char *path = baseline_path(manifest, json_key(v));
        struct buf b;
        buf_init(&b, BUF_MAX_DEFAULT);
        json_write_pretty(v, 1, &b);
        rc = file_make_parents(path, e);
        if (rc == 0)
            rc = file_publish(path, b.bytes, b.n_bytes, 0644, e);
        buf_release(&b);
        xfree(path);
    }
    return rc;
}

int baseline_accept(const struct run_record *runs, size_t n_runs, struct store *s,
                    size_t *n_written, struct err *e)
{
    struct json *list = json_new_object(); /* instance -> baseline: all are made, then written */
    int rc = check_runs(runs, n_runs, e);
    for (const struct json *t = json_items(runs[0].root, "stages"); t && rc == 0;
         t = json_next(t)) {
        struct json *one = NULL;
        if (!json_find_text(t, "stage") || !golden_id(t) ||
            !run_item_of_kind(t, "outputs", "metrics"))
            continue;
        rc = make_stage(runs, n_runs, s, t, &one, e);
        if (rc == 0)
            json_put(list, json_find_text(t, "stage"), one);
    }
    if (rc == 0 && json_count(list) == 0)
        rc = err_set(e, ERR_MISSING, "no stage of run %.12s of %s answers a golden set",
                     runs[0].commit, runs[0].name);
    if (rc == 0)
        rc = publish(runs[0].name, list, e);
    *n_written = json_count(list);
    json_free(list);
    return rc;
}
