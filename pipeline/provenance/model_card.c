#include "pipeline/provenance/model_card.h"

#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/statement.h"

/* ---- the header ---- */

static void add_quoted(struct buf *out, const char *s)
{
    struct json *text = statement_text(s);
    json_add_string(out, json_string(text));
    json_free(text);
}

static void add_field(struct buf *out, const char *key, const char *value)
{
    if (value == NULL)
        return;
    buf_printf(out, "%s: ", key);
    add_quoted(out, value);
    buf_add_char(out, '\n');
}

/* The Hub refuses a header whose license it does not know: these it does, of those that an adapter
 * is likely to have; another is `other`, with a name. */
static bool is_hub_license(const char *id)
{
    static const char known[] =
        " afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd-2-clause bsd-3-clause bsl-1.0 cc0-1.0 "
        "cc-by-4.0 cc-by-nc-4.0 cc-by-nc-nd-4.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-4.0 "
        "cdla-permissive-1.0 cdla-permissive-2.0 ecl-2.0 epl-2.0 eupl-1.1 gpl-2.0 gpl-3.0 isc "
        "lgpl-2.1 lgpl-3.0 mit mpl-2.0 ncsa odc-by openrail other postgresql unknown unlicense "
        "wtfpl zlib ";
    char *word = xasprintf(" %s ", id);
    bool found = strstr(known, word) != NULL;
    xfree(word);
    return found;
}

/* An SPDX id is the Hub's in small letters, without what says which versions of the GPL. */
static void add_license(const char *license, struct buf *out)
{
    static const char *const ends[] = {"-only", "-or-later"};
    if (license == NULL)
        return;
    char *id = xstrdup(license);
    for (char *c = id; *c != '\0'; c++)
        *c = *c >= 'A' && *c <= 'Z'                                    ? (char)(*c - 'A' + 'a')
             : (*c >= 'a' && *c <= 'z') || strchr("0123456789.-_", *c) ? *c
                                                                       : '-';
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (str_ends(id, ends[i]))
            id[strlen(id) - strlen(ends[i])] = '\0';
    add_field(out, "license", is_hub_license(id) ? id : "other");
    if (!is_hub_license(id))
        add_field(out, "license_name", id);
    xfree(id);
}

/* The toolkit of the first stage that has one; else what the base is called. */
static const char *base_name(const struct origin *o)
{
    const struct json *base = origin_input(o, "base");
    for (const struct json *s = json_items(o->audit, "chain"); s != NULL; s = json_next(s))
        if (json_find_text(s, "toolkit") != NULL)
            return json_find_text(s, "toolkit");
    return json_find_text(base, "from");
}

static bool is_training_data(const struct json *source)
{
    const char *kind = json_find_text(source, "kind");
    return kind != NULL && origin_is_data(kind) && !str_eq(kind, "golden");
}

static void add_datasets(const struct origin *o, struct buf *out)
{
    const char *title = "datasets:\n";
    for (const struct json *s = json_items(o->audit, "sources"); s != NULL; s = json_next(s)) {
        if (!is_training_data(s) || json_find_text(s, "from") == NULL)
            continue;
        buf_printf(out, "%s- ", title);
        add_quoted(out, json_find_text(s, "from"));
        buf_add_char(out, '\n');
        title = "";
    }
}

static void add_result(const struct json *result, struct buf *out)
{
    const struct json *set = json_get(result, "golden");
    const char *from = json_text_or(set, "from", "?");
    buf_add_text(out, "  - task:\n      type: text-generation\n    dataset:\n      name: ");
    add_quoted(out, from);
    buf_add_text(out, "\n      type: ");
    add_quoted(out, from);
    buf_printf(out, "\n      revision: \"%s\"\n    metrics:\n", json_find_text(set, "id"));
    for (const struct json *m = json_first(json_get(result, "metrics")); m; m = json_next(m)) {
        if (json_type(m) != JSON_NUMBER)
            continue;
        buf_add_text(out, "    - type: ");
        add_quoted(out, json_key(m));
        buf_add_text(out, "\n      value: ");
        json_add_number(out, json_number(m));
        buf_add_char(out, '\n');
    }
}

static bool has_number(const struct json *result)
{
    for (const struct json *m = json_first(json_get(result, "metrics")); m; m = json_next(m))
        if (json_type(m) == JSON_NUMBER)
            return true;
    return false;
}

static void add_header(const struct origin *o, struct buf *out)
{
    bool first = true;
    buf_add_text(out, "---\n");
    add_field(out, "base_model", base_name(o));
    buf_add_text(out, "base_model_relation: adapter\nlibrary_name: fmforge\n"
                      "pipeline_tag: text-generation\ntags:\n- lora\n- fmforge\n");
    add_license(origin_config(o, "license"), out);
    add_datasets(o, out);
    for (const struct json *r = json_first(o->results); r != NULL; r = json_next(r)) {
        if (!has_number(r))
            continue;
        if (first) {
            buf_add_text(out, "model-index:\n- name: ");
            add_quoted(out, origin_name(o));
            buf_add_text(out, "\n  results:\n");
        }
        first = false;
        add_result(r, out);
    }
    buf_add_text(out, "---\n");
}

/* ---- the text ---- */

/* A cell of a table, or a line: what Markdown would read is taken as it stands. */
static void add_plain(struct buf *out, const char *s)
{
    for (; s != NULL && *s != '\0'; s++) {
        if (strchr("\\`*_{}[]<>|#", *s) != NULL)
            buf_add_char(out, '\\');
        buf_add_char(out, *s == '\n' || *s == '\r' ? ' ' : *s);
    }
}

static void add_row(struct buf *out, const char *a, const char *b)
{
    if (b == NULL)
        return;
    buf_add_text(out, "| ");
    add_plain(out, a);
    buf_add_text(out, " | ");
    add_plain(out, b);
    buf_add_text(out, " |\n");
}

static void add_what(const struct origin *o, struct buf *out)
{
    const struct json *base = origin_input(o, "base");
    buf_add_text(out, "\n| | |\n|---|---|\n");
    add_row(out, "kind", json_find_text(o->made, "kind"));
    add_row(out, "SHA-256", json_find_text(o->made, "id"));
    add_row(out, "author", origin_config(o, "author"));
    add_row(out, "license", origin_config(o, "license"));
    add_row(out, "base", base_name(o));
    add_row(out, "base, SHA-256", json_find_text(base, "id"));
    add_row(out, "base signature", o->signature);
    add_row(out, "run", o->run.commit);
    add_row(out, "audit",
            str_eq(json_find_text(o->audit, "status"), "proven") ? "proven" : "cannot tell");
}

static void add_number_cell(struct buf *out, const struct json *v)
{
    if (json_is_number(v))
        json_add_number(out, json_number(v));
    else
        buf_add_char(out, '-');
}

static void add_results(const struct origin *o, struct buf *out)
{
    for (const struct json *r = json_first(o->results); r != NULL; r = json_next(r)) {
        buf_add_text(out, "\n## Results on ");
        add_plain(out, json_find_text(json_get(r, "golden"), "from"));
        buf_printf(out, "\n\nGolden set %s, stage ", json_find_text(json_get(r, "golden"), "id"));
        add_plain(out, json_find_text(r, "stage"));
        buf_add_text(out, ".\n\n");
        if (!has_number(r))
            buf_add_text(out, "The store does not have its metrics any more.\n");
        else
            buf_add_text(out, "| metric | value |\n|---|---|\n");
        for (const struct json *m = json_first(json_get(r, "metrics")); m; m = json_next(m)) {
            if (json_type(m) != JSON_NUMBER)
                continue;
            buf_add_text(out, "| ");
            add_plain(out, json_key(m));
            buf_add_text(out, " | ");
            add_number_cell(out, m);
            buf_add_text(out, " |\n");
        }
        if (json_items(r, "gates") != NULL)
            buf_add_text(out, "\n| gate | value | verdict |\n|---|---|---|\n");
        for (const struct json *g = json_items(r, "gates"); g != NULL; g = json_next(g)) {
            buf_add_text(out, "| ");
            add_plain(out, json_find_text(g, "gate"));
            buf_add_text(out, " | ");
            add_number_cell(out, json_get(g, "value"));
            buf_add_text(out, " | ");
            add_plain(out, json_find_text(g, "verdict"));
            buf_add_text(out, " |\n");
        }
    }
}

static void add_sources(const struct origin *o, struct buf *out)
{
    buf_add_text(out, "\n## Made from\n\n| source | kind | SHA-256 |\n|---|---|---|\n");
    for (const struct json *s = json_items(o->audit, "sources"); s != NULL; s = json_next(s)) {
        buf_add_text(out, "| ");
        add_plain(out, json_find_text(s, "from"));
        buf_add_text(out, " | ");
        add_plain(out, json_find_text(s, "kind"));
        buf_add_text(out, " | ");
        add_plain(out, json_find_text(s, "id"));
        buf_add_text(out, " |\n");
    }
}

/* The audit walks back from the end: this is the other way round. */
static void add_stages(const struct origin *o, struct buf *out)
{
    size_t n = json_count(json_get(o->audit, "chain"));
    const struct json **steps = xalloc_array(n, sizeof *steps);
    n = 0;
    for (const struct json *s = json_items(o->audit, "chain"); s != NULL; s = json_next(s))
        steps[n++] = s;
    buf_add_text(out, "\n## Made by\n\n| stage | kind | made | config |\n|---|---|---|---|\n");
    while (n > 0) {
        const struct json *s = steps[--n];
        struct buf config;
        buf_init(&config, BUF_MAX_DEFAULT);
        if (json_get(s, "config") != NULL)
            json_write_canonical(json_get(s, "config"), &config);
        buf_add_text(out, "| ");
        add_plain(out, json_find_text(s, "stage"));
        buf_add_text(out, " | ");
        add_plain(out, json_find_text(s, "run"));
        buf_add_text(out, " | ");
        add_plain(out, json_find_text(s, "finished"));
        buf_add_text(out, " | ");
        add_plain(out, buf_text(&config));
        buf_add_text(out, " |\n");
        buf_release(&config);
    }
    xfree(steps);
}

/* By its kind; where a kind may be either, by what its stage was told to write. */
static bool is_adapter(const struct origin *o)
{
    const char *kind = json_find_text(o->made, "kind");
    const char *what = origin_config(o, "what");
    if (!o->is_model || str_eq(kind, "base") || str_eq(kind, "draft"))
        return false;
    return what == NULL || str_eq(what, "adapter");
}

int model_card_write(const struct origin *o, struct buf *out, struct err *e)
{
    if (!o->is_model)
        return err_set(e, ERR_CONFIG,
                       "%s is of kind %s, not a model: expected a package or an adapter",
                       json_find_text(o->audit, "as"), json_find_text(o->made, "kind"));
    if (!is_adapter(o))
        return err_set(
            e, ERR_CONFIG,
            "%s is of kind %s%s%s, not an adapter alone: expected a package or an adapter",
            json_find_text(o->audit, "as"), json_find_text(o->made, "kind"),
            origin_config(o, "what") ? ", what: " : "",
            origin_config(o, "what") ? origin_config(o, "what") : "");
    add_header(o, out);
    buf_add_text(out, "\n# ");
    add_plain(out, origin_name(o));
    buf_add_char(out, '\n');
    if (origin_config(o, "description") != NULL) {
        buf_add_char(out, '\n');
        add_plain(out, origin_config(o, "description"));
        buf_add_char(out, '\n');
    }
    add_what(o, out);
    add_results(o, out);
    add_sources(o, out);
    add_stages(o, out);
    buf_printf(out,
               "\nWritten from the record of run %.12s. Who has its ledger checks all of it with\n"
               "`fmforge audit %s`.\n",
               o->run.commit, json_find_text(o->made, "id"));
    return 0;
}
