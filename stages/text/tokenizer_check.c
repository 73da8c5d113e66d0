#include "stages/text/tokenizer_check.h"

#include <stdbool.h>

#include "pipeline/base/str.h"
#include "stages/text/spm.h"

struct ids {
    int vocab;
    int64_t n; /* seen */
};

static bool names_ids(const char *key)
{
    return str_eq(key, "id") || str_eq(key, "ids") || str_ends(key, "_id") || str_ends(key, "_ids");
}

static int check_id(struct ids *c, const struct json *v, struct err *e)
{
    double id = json_number(v);
    if (!json_is_integer(v) || id < -1 || id >= c->vocab)
        return err_set(e, ERR_CONFIG, "found %.15g, expected an id of the vocabulary, 0 to %d", id,
                       c->vocab - 1);
    c->n += id >= 0;
    return 0;
}

static int check_size(const struct ids *c, const struct json *v, struct err *e)
{
    bool is_number = json_type(v) == JSON_NUMBER;
    if (is_number && json_is_integer(v) && json_number(v) < 1e15 && json_number(v) > -1e15 &&
        (int64_t)json_number(v) == c->vocab)
        return 0;
    if (!is_number)
        return err_set(e, ERR_CONFIG, "found %s, expected the size of the vocabulary, %d",
                       json_type_name(json_type(v)), c->vocab);
    return err_set(e, ERR_CONFIG, "found %.15g, expected the size of the vocabulary, %d",
                   json_number(v), c->vocab);
}

/* are_ids: what stands here is below a key that names ids. As deep as JSON may be. */
static int walk(struct ids *c, const struct json *v, bool are_ids, struct err *e)
{
    bool is_object = json_type(v) == JSON_OBJECT;
    if (json_type(v) == JSON_NUMBER && are_ids)
        return check_id(c, v, e);
    if (!is_object && json_type(v) != JSON_ARRAY)
        return 0;
    size_t i = 0;
    for (const struct json *m = json_first(v); m; m = json_next(m), i++) {
        int rc = is_object && str_eq(json_key(m), "vocab_size")
                     ? check_size(c, m, e)
                     : walk(c, m, are_ids || (is_object && names_ids(json_key(m))), e);
        if (rc != 0)
            return is_object ? err_wrap(e, "%.100s", json_key(m)) : err_wrap(e, "item %zu", i + 1);
    }
    return 0;
}

int tokenizer_check_ids(const struct json *config, int vocab, int64_t *n_ids, struct err *e)
{
    struct ids c = {.vocab = vocab};
    int rc = walk(&c, config, false, e);
    *n_ids = c.n;
    return rc;
}

int tokenizer_check(const char *model_path, const char *config_path, int vocab,
                    struct tokenizer_facts *out, struct err *e)
{
    struct spm *spm = NULL;
    struct json *config = NULL;
    *out = (struct tokenizer_facts){0};
    int rc = spm_open(model_path, &spm, e);
    if (rc != 0)
        return rc;
    out->n_pieces = spm_size(spm);
    spm_close(spm);
    if (out->n_pieces != vocab)
        return err_set(e, ERR_CONFIG,
                       "%s: a tokenizer of another size than the vocabulary: it has %d pieces, the "
                       "shape says %d",
                       model_path, out->n_pieces, vocab);
    if (!config_path)
        return 0;
    rc = json_read(config_path, &config, e);
    if (rc == 0 && tokenizer_check_ids(config, vocab, &out->n_ids, e) != 0)
        rc = err_wrap(e, "%s", config_path);
    json_free(config);
    return rc;
}
