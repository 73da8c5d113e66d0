#include "pipeline/engine/baseline.h"

#include <math.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/engine/report.h"

static char *path_of(const char *manifest, const char *instance)
{
    return xasprintf(BASELINE_ROOT "/%s/%s.json", manifest, instance);
}

static int check(const struct json *root, struct err *e)
{
    static const char *const keys[] = {"schema", "golden", "runs", "rows", "metrics", "spread"};
    const struct json *metrics = NULL;
    const char *golden = NULL;
    int64_t schema = 0;
    int rc = json_only_keys(root, keys, sizeof keys / sizeof keys[0], e);
    if (rc == 0)
        rc = json_need_i64(root, "schema", &schema, e);
    if (rc == 0 && schema != 1)
        rc = err_set(e, ERR_FORMAT, "a baseline of schema %lld, this program knows 1 only",
                     (long long)schema);
    if (rc == 0)
        rc = json_need_string(root, "golden", &golden, e);
    return rc == 0 ? json_need_object(root, "metrics", &metrics, e) : rc;
}

int baseline_read(struct baseline *b, const char *manifest, const char *instance,
                  const char *golden_id, struct err *e)
{
    char *path = path_of(manifest, instance);
    memset(b, 0, sizeof *b);
    int rc = file_exists(path) ? json_read(path, &b->root, e) : 0;
    if (rc == 0 && b->root && check(b->root, e) < 0)
        rc = err_wrap(e, "%s", path);
    xfree(path);
    if (rc < 0)
        baseline_release(b);
    if (rc < 0 || !b->root)
        return rc;
    b->is_of_another_set = !golden_id || !str_eq(run_text(b->root, "golden"), golden_id);
    b->metrics = b->is_of_another_set ? NULL : json_get(b->root, "metrics");
    return 0;
}

void baseline_release(struct baseline *b)
{
    json_free(b->root);
    memset(b, 0, sizeof *b);
}

static double number_of(const struct json *object, const char *key, double otherwise)
{
    const struct json *v = object ? json_get(object, key) : NULL;
    return v && json_type(v) == JSON_NUMBER ? json_number(v) : otherwise;
}

double baseline_allowed(const struct baseline *b, const char *metric)
{
    double rows = number_of(b->root, "rows", 1), p = number_of(b->metrics, metric, 0);
    double spread = number_of(json_get(b->root, "spread"), metric, -1);
    double n_runs = (double)json_count(json_get(b->root, "runs"));
    double allowed = n_runs >= 3 && spread >= 0 ? 3 * spread * sqrt(1 + 1 / n_runs)
                                                : 2 * sqrt(2 * p * (1 - p) / rows);
    return allowed > 1 / rows ? allowed : 1 / rows;
}

/* --- accepting ---------------------------------------------------------------------------------
 */

static const char *golden_id(const struct json *stage)
{
    for (const struct json *i = run_items(stage, "inputs"); i; i = json_next(i))
        if (run_text(i, "kind") && str_eq(run_text(i, "kind"), "golden"))
            return run_text(i, "id");
    return NULL;
}

static const struct json *find_stage(const struct run_record *r, const char *name)
{
    for (const struct json *t = run_items(r->root, "stages"); t; t = json_next(t))
        if (run_text(t, "stage") && str_eq(run_text(t, "stage"), name))
            return t;
    return NULL;
}

/* Metrics of one stage in every run: ERR_MISSING or ERR_CONFIG when a run lacks them. */
static int collect(const struct run_record *runs, size_t n_runs, struct store *s,
                   const struct json *stage, struct json **metrics, struct err *e)
{
    const char *name = run_text(stage, "stage");
    for (size_t k = 0; k < n_runs; k++) {
        const struct json *t = find_stage(&runs[k], name);
        const char *golden = t ? golden_id(t) : NULL;
        if (!golden || !str_eq(golden, golden_id(stage)))
            return err_set(e, ERR_CONFIG,
                           "run %.12s: its stage %s answers another golden set, or none",
                           runs[k].commit, name);
        metrics[k] = report_output(s, t, "metrics", NULL);
        if (!metrics[k])
            return err_set(e, ERR_MISSING, "run %.12s: the store has no metrics of %s",
                           runs[k].commit, name);
    }
    return 0;
}

static void add_metric(struct json *const *metrics, size_t n_runs, const char *name,
                       struct json *means, struct json *spreads)
{
    double sum = 0, squares = 0;
    for (size_t k = 0; k < n_runs; k++)
        sum += number_of(metrics[k], name, 0);
    double mean = sum / (double)n_runs;
    for (size_t k = 0; k < n_runs; k++) {
        double off = number_of(metrics[k], name, 0) - mean;
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
    json_put_string(root, "golden", golden_id(stage));
    for (size_t k = 0; k < n_runs; k++)
        json_append(commits, json_new_string(runs[k].commit));
    json_put(root, "runs", commits);
    json_put_f64(root, "rows", number_of(metrics[0], "rows", 1));
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

static int accept_stage(const struct run_record *runs, size_t n_runs, struct store *s,
                        const struct json *stage, struct err *e)
{
    struct json **metrics = xalloc_array(n_runs, sizeof(struct json *));
    int rc = collect(runs, n_runs, s, stage, metrics, e);
    if (rc == 0) {
        struct json *root = make(runs, n_runs, stage, metrics);
        char *path = path_of(runs[0].name, run_text(stage, "stage"));
        struct buf b;
        buf_init(&b, BUF_MAX_DEFAULT);
        json_write_pretty(root, 1, &b);
        rc = file_make_parents(path, e);
        if (rc == 0)
            rc = file_publish(path, b.bytes, b.n_bytes, 0644, e);
        buf_release(&b);
        xfree(path);
        json_free(root);
    }
    for (size_t k = 0; k < n_runs; k++)
        json_free(metrics[k]);
    xfree(metrics);
    return rc;
}

static bool has_metrics(const struct json *stage)
{
    for (const struct json *o = run_items(stage, "outputs"); o; o = json_next(o))
        if (run_text(o, "kind") && str_eq(run_text(o, "kind"), "metrics"))
            return true;
    return false;
}

int baseline_accept(const struct run_record *runs, size_t n_runs, struct store *s,
                    size_t *n_written, struct err *e)
{
    *n_written = 0;
    for (size_t k = 1; k < n_runs; k++)
        if (!str_eq(runs[k].name, runs[0].name))
            return err_set(e, ERR_CONFIG,
                           "run %.12s is one of %s, run %.12s one of %s: one "
                           "manifest at a time",
                           runs[0].commit, runs[0].name, runs[k].commit, runs[k].name);
    int rc = 0;
    for (const struct json *t = run_items(runs[0].root, "stages"); t && rc == 0; t = json_next(t)) {
        if (!run_text(t, "stage") || !golden_id(t) || !has_metrics(t))
            continue;
        rc = accept_stage(runs, n_runs, s, t, e);
        *n_written += rc == 0;
    }
    if (rc == 0 && *n_written == 0)
        rc = err_set(e, ERR_MISSING, "no stage of run %.12s of %s answers a golden set",
                     runs[0].commit, runs[0].name);
    return rc;
}
