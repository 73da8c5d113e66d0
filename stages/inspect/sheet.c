#include "stages/inspect/sheet.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define WIDTH 100
#define LABEL 26        /* columns of a label behind its indentation of two */
#define SHOWN_BYTES 300 /* of a text in the metadata */

static const char *text_of(const struct json *o, const char *key)
{
    const struct json *v = o ? json_get(o, key) : NULL;
    return v && json_type(v) == JSON_STRING ? json_string(v) : NULL;
}

static double number_of(const struct json *o, const char *key)
{
    const struct json *v = o ? json_get(o, key) : NULL;
    return v && json_type(v) == JSON_NUMBER ? json_number(v) : 0;
}

static uint64_t count_of(const struct json *o, const char *key)
{
    return (uint64_t)number_of(o, key);
}

static bool is_true(const struct json *o, const char *key)
{
    const struct json *v = o ? json_get(o, key) : NULL;
    return v && json_type(v) == JSON_BOOL && json_bool(v);
}

/* 3111368064 -> "3,111,368,064". */
static char *grouped(uint64_t n, char out[32])
{
    char digits[24];
    int n_digits = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    size_t at = 0;
    for (int i = 0; i < n_digits; i++) {
        if (i > 0 && (n_digits - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

/* Text out of a file: a control character would be an order to the terminal. */
static void add_plain(struct buf *out, const char *text, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        buf_add_char(out, c < 0x20 || c == 0x7f ? '?' : text[i]);
    }
}

/* "  label                     text", with the text in several lines where it is long. Words of
 * any length stay whole: paths are to be copied. */
static void line(struct buf *out, const char *label, const char *text)
{
    size_t column = LABEL + 2;
    buf_add_text(out, "  ");
    add_plain(out, label, strlen(label));
    buf_printf(out, "%*s", strlen(label) < LABEL ? LABEL - (int)strlen(label) : 1, "");
    for (const char *word = text; *word != '\0';) {
        size_t n = strcspn(word, " \n");
        if (column > LABEL + 2 && column + 1 + n > WIDTH) {
            buf_printf(out, "\n%*s", LABEL + 2, "");
            column = LABEL + 2;
        }
        if (column > LABEL + 2)
            buf_add_char(out, ' ');
        add_plain(out, word, n);
        column += n + 1;
        word += n + (word[n] != '\0');
    }
    buf_add_char(out, '\n');
}

static void line_if(struct buf *out, const char *label, const char *text)
{
    if (text && *text)
        line(out, label, text);
}

static void title(struct buf *out, const char *text)
{
    buf_printf(out, "\n%s\n", text);
}

/* --- the head --- */

static void head(const struct json *facts, struct buf *out)
{
    static const struct {
        const char *what, *says;
    } kinds[] = {
        {"toolkit", "a toolkit: a version of a base model and what belongs to it"},
        {"base", "a base model"},
        {"draft", "a draft model"},
        {"adapter", "an adapter (LoRA)"},
        {"tensors", "tensors of no kind that is known here"},
        {"package", "a .fmadapter package"},
        {"shape", "the dimensions of a model"},
    };
    const char *what = text_of(facts, "what"), *says = what;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (str_eq(kinds[i].what, what))
            says = kinds[i].says;
    buf_printf(out, "%s: %s\n", text_of(facts, "path"), says);
}

static void list_text(const struct json *list, struct buf *out)
{
    for (const struct json *i = json_first(list); i; i = json_next(i)) {
        if (json_type(i) == JSON_STRING)
            buf_printf(out, "%s%s", out->n_bytes > 0 ? ", " : "", json_string(i));
    }
}

static void identity(const struct json *facts, struct buf *out)
{
    const struct json *t = json_get(facts, "toolkit");
    struct buf os;
    buf_init(&os, BUF_MAX_DEFAULT);
    line_if(out, "name", text_of(t, "label"));
    line_if(out, "description", text_of(t, "description"));
    line_if(out, "layout", text_of(t, "layout"));
    line_if(out, "signature", text_of(t, "signature"));
    if (t && json_get(t, "os"))
        list_text(json_get(t, "os"), &os);
    line_if(out, "systems", buf_text(&os));
    line_if(out, "SHA-256 of the base", text_of(facts, "base_content_id"));
    line_if(out, "SHA-256", text_of(facts, "content_id"));
    buf_release(&os);
}

/* {"alpha":16,"format":"x"} -> "alpha 16, format x". */
static void value_text(const struct json *v, struct buf *out)
{
    if (json_type(v) == JSON_STRING) {
        buf_add_text(out, json_string(v));
    } else if (json_type(v) != JSON_OBJECT) {
        json_write_canonical(v, out);
    } else {
        for (const struct json *i = json_first(v); i; i = json_next(i)) {
            buf_printf(out, "%s%s ", i != json_first(v) ? ", " : "", json_key(i));
            if (json_type(i) == JSON_STRING)
                buf_add_text(out, json_string(i));
            else
                json_write_canonical(i, out);
        }
    }
}

static void file_line(const char *label, const struct json *file, struct buf *out)
{
    char size[16];
    bool present = is_true(file, "present");
    const char *first = !present ? "absent" : "there";
    if (present && json_get(file, "bytes"))
        first = str_format_bytes(count_of(file, "bytes"), size);
    buf_printf(out, "  %-*s%10s  %s\n", LABEL, label, first, json_string(json_get(file, "path")));
    if (!present && text_of(file, "missing"))
        line(out, "", text_of(file, "missing"));
}

static void facet_line(const struct json *f, struct buf *out)
{
    const char *name = text_of(f, "name"), *type = text_of(f, "type");
    for (const struct json *file = json_first(json_get(f, "files")); file; file = json_next(file)) {
        const char *choice = text_of(file, "choice");
        char *label =
            choice ? xasprintf("%s, %s %s", name, text_of(f, "by"), choice) : xstrdup(name);
        file_line(label, file, out);
        xfree(label);
    }
    if (str_eq(type, "value") && !str_eq(name, "signature") && !str_eq(name, "os")) {
        struct buf text;
        buf_init(&text, BUF_MAX_DEFAULT);
        value_text(json_get(f, "value"), &text);
        line(out, name, buf_text(&text));
        buf_release(&text);
    }
    if (str_eq(type, "stage"))
        buf_printf(out, "  %-*s%10s  made by stage %s, of\n", LABEL, name, "", text_of(f, "run"));
    const struct json *inputs = json_get(f, "inputs");
    for (const struct json *file = inputs ? json_first(inputs) : NULL; file; file = json_next(file))
        file_line("", file, out);
}

static void facets(const struct json *facts, struct buf *out)
{
    const struct json *list = json_get(facts, "facets");
    if (!list)
        return;
    title(out, "facets");
    for (const struct json *f = json_first(list); f; f = json_next(f))
        facet_line(f, out);
}

static void package(const struct json *facts, struct buf *out)
{
    const struct json *p = json_get(facts, "package");
    char size[16];
    if (!p)
        return;
    line_if(out, "name", text_of(p, "name"));
    line_if(out, "author", text_of(p, "author"));
    line_if(out, "description", text_of(p, "description"));
    line_if(out, "licence", text_of(p, "license"));
    buf_printf(out, "  %-*s%s\n", LABEL, "adapter_weights.bin",
               str_format_bytes(count_of(p, "bytes"), size));
    buf_printf(out, "  %-*s%g, alpha %g (y += alpha / rank x A B)\n", LABEL, "rank",
               number_of(p, "rank"), number_of(p, "alpha"));
    line(out, "draft", is_true(p, "has_draft") ? "in the package" : "none in the package");
    buf_printf(out, "  %-*s%g\n", LABEL, "draft tokens at a time",
               number_of(p, "draft_token_count"));
    line_if(out, "made from adapter", text_of(p, "adapter"));
}

static void belongs(const struct json *facts, struct buf *out)
{
    const struct json *b = json_get(facts, "belongs");
    if (json_get(facts, "rank"))
        buf_printf(out, "  %-*s%g, alpha %g (y += alpha / rank x A B)\n", LABEL, "rank",
                   number_of(facts, "rank"), number_of(facts, "alpha"));
    if (!b)
        return;
    line_if(out, "base's signature", text_of(b, "signature"));
    line_if(out, "SHA-256 of its base", text_of(b, "base"));
    if (!text_of(b, "base") && !text_of(b, "signature"))
        line(out, "base", "the file does not say which");
    if (text_of(b, "toolkit")) {
        char *text = xasprintf("%s in %s", text_of(b, "toolkit"), text_of(b, "folder"));
        line(out, "toolkit", text);
        xfree(text);
    } else {
        line(out, "toolkit", "none in configs/toolkits has this base");
    }
}

/* --- tables --- */

static void shape_line(const char *name, const struct json *s, struct buf *out)
{
    char v[32], c[32];
    if (!s)
        return;
    char *text = xasprintf(
        "vocabulary %s, hidden %g, layers %g + %g, heads %g over %g KV heads x %g, FFN %g, "
        "context %s, RoPE theta %g, norm eps %g, 8-bit keys and values: %s",
        grouped(count_of(s, "vocab"), v), number_of(s, "hidden"), number_of(s, "layers_0"),
        number_of(s, "layers_1"), number_of(s, "heads"), number_of(s, "kv_heads"),
        number_of(s, "head_dim"), number_of(s, "ffn"), grouped(count_of(s, "context"), c),
        number_of(s, "rope_theta"), number_of(s, "norm_eps"),
        is_true(s, "kv_quant") ? "yes" : "no");
    line(out, name, text);
    xfree(text);
}

/* One row of the table of parameters; `layers` 0: there is one. */
static void count_row(struct buf *out, const char *label, uint64_t each, uint64_t layers,
                      const char *note)
{
    char a[32], b[32], total[32] = "";
    bool several = layers > 0;
    (void)grouped(several ? each * layers : each, total);
    buf_printf(out, "  %-*s%15s%8s%17s%s%s\n", LABEL, label, several ? grouped(each, a) : "",
               several ? grouped(layers, b) : "", total, *note ? "   " : "", note);
}

/* of: "" or "draft, ", in front of every label. */
static void frozen_rows(const struct json *c, const char *of, struct buf *out)
{
    bool two = count_of(c, "layers_1") > 0;
    char *note = xasprintf("%g tensors", number_of(c, "tensors"));
    char *labels[] = {
        xasprintf("%sembedding = output", of),
        xasprintf("%s%s", of, two ? "layer of segment 0" : "layer"),
        xasprintf("%slayer of segment 1", of),
        xasprintf("%sfinal norm", of),
    };
    count_row(out, labels[0], count_of(c, "embedding"), 0, "");
    count_row(out, labels[1], count_of(c, "layer_0"), count_of(c, "layers_0"),
              two ? "own keys and values" : "");
    if (two)
        count_row(out, labels[2], count_of(c, "layer_1"), count_of(c, "layers_1"),
                  "those of segment 0's last");
    count_row(out, labels[3], count_of(c, "final_norm"), 0, "");
    count_row(out, *of ? "draft" : "model", count_of(c, "frozen"), 0, note);
    for (size_t k = 0; k < sizeof labels / sizeof labels[0]; k++)
        xfree(labels[k]);
    xfree(note);
}

static void adapter_rows(const struct json *c, struct buf *out)
{
    bool two = count_of(c, "layers_1") > 0;
    if (!json_get(c, "rank"))
        return;
    char *note =
        xasprintf("%g modules, %g tensors", number_of(c, "modules"), number_of(c, "lora_tensors"));
    char *label = xasprintf("adapter of rank %g", number_of(c, "rank"));
    count_row(out, two ? "LoRA in segment 0" : "LoRA in a layer", count_of(c, "lora_0"),
              count_of(c, "layers_0"), "");
    if (two)
        count_row(out, "LoRA in segment 1", count_of(c, "lora_1"), count_of(c, "layers_1"), "");
    count_row(out, label, count_of(c, "lora"), 0, note);
    xfree(label);
    xfree(note);
    note = xasprintf("%g adapted linears", number_of(c, "linears"));
    count_row(out, "model and adapter", count_of(c, "total"), 0, note);
    xfree(note);
}

static void counts(const struct json *facts, struct buf *out)
{
    const struct json *c = json_get(facts, "counts"), *draft = json_get(facts, "draft_counts");
    char bytes[32];
    if (json_get(facts, "shape") || json_get(facts, "draft_shape"))
        title(out, "shape");
    shape_line("model", json_get(facts, "shape"), out);
    shape_line("draft", json_get(facts, "draft_shape"), out);
    if (!c && !draft)
        return;
    buf_printf(out, "\n%-*s%15s%8s%17s\n", LABEL + 2, "parameters", "each", "layers", "all");
    if (c) {
        frozen_rows(c, "", out);
        adapter_rows(c, out);
    }
    if (c && json_get(c, "package_weights_bytes"))
        buf_printf(out, "  %-*s%40s   bytes\n", LABEL, "its package's weights",
                   grouped(count_of(c, "package_weights_bytes"), bytes));
    if (draft)
        frozen_rows(draft, "draft, ", out);
}

static void tensors(const struct json *facts, struct buf *out)
{
    const struct json *t = json_get(facts, "tensors");
    char a[32], size[16];
    if (!t)
        return;
    buf_printf(out, "\n%-*s%15s%17s%14s\n", LABEL + 2, "tensors", "number", "values", "bytes");
    for (const struct json *g = json_first(json_get(t, "forms")); g; g = json_next(g))
        buf_printf(out, "  %-*s%15.0f%17s%14s\n", LABEL, text_of(g, "form"),
                   number_of(g, "tensors"), grouped(count_of(g, "values"), a),
                   str_format_bytes(count_of(g, "bytes"), size));
    buf_printf(out, "  %-*s%15.0f%17s%14s\n", LABEL, "file", number_of(t, "count"), "",
               str_format_bytes(count_of(t, "file_bytes"), size));
}

static void metadata(const struct json *facts, struct buf *out)
{
    const struct json *m = json_get(facts, "metadata");
    if (!m || json_count(m) == 0)
        return;
    title(out, "metadata");
    for (const struct json *i = json_first(m); i; i = json_next(i)) {
        const char *text = json_string(i);
        size_t n = strlen(text) > SHOWN_BYTES ? str_utf8_prefix(text, SHOWN_BYTES) : strlen(text);
        char *shown = xasprintf("%.*s%s", (int)n, text, text[n] != '\0' ? " ..." : "");
        if (!str_eq(json_key(i), "fmforge.shape"))
            line(out, json_key(i), shown);
        xfree(shown);
    }
}

/* --- memory --- */

static const char *verdict(const struct json *machine, uint64_t bytes)
{
    if (!machine)
        return "";
    if (bytes > count_of(machine, "total_bytes"))
        return "more than this machine has";
    if (bytes > count_of(machine, "available_bytes"))
        return "more than is available now";
    return "fits";
}

static void plan(const struct json *p, const struct json *machine, struct buf *out)
{
    char size[16];
    for (const struct json *i = json_first(json_get(p, "parts")); i; i = json_next(i))
        buf_printf(out, "  %-*s%12s\n", LABEL, text_of(i, "name"),
                   str_format_bytes(count_of(i, "bytes"), size));
    buf_printf(out, "  %-*s%12s   %s\n", LABEL, "all",
               str_format_bytes(count_of(p, "total_bytes"), size),
               verdict(machine, count_of(p, "total_bytes")));
    if (json_get(p, "with_draft_bytes"))
        buf_printf(out, "  %-*s%12s   %s\n", LABEL, "all, with the draft",
                   str_format_bytes(count_of(p, "with_draft_bytes"), size),
                   verdict(machine, count_of(p, "with_draft_bytes")));
}

static void memory(const struct json *facts, struct buf *out)
{
    const struct json *m = json_get(facts, "memory"), *machine = m ? json_get(m, "machine") : NULL;
    const struct json *training = m ? json_get(m, "training") : NULL;
    const struct json *answering = m ? json_get(m, "answering") : NULL;
    char a[32], b[32];
    if (!m)
        return;
    if (training) {
        buf_printf(out, "\nmemory of training: rank %g, %s rows of at most %s tokens, %g threads\n",
                   number_of(training, "rank"), grouped(count_of(training, "rows"), a),
                   grouped(count_of(training, "row_tokens"), b), number_of(m, "threads"));
        plan(training, machine, out);
    }
    buf_printf(out, "\nmemory of answering: %g at a time, %s tokens, %g threads\n",
               number_of(answering, "sequences"), grouped(count_of(answering, "positions"), a),
               number_of(m, "threads"));
    plan(answering, machine, out);
    buf_add_char(out, '\n');
    if (text_of(m, "weights_planned_as")) {
        char *text = xasprintf("not there; planned as this program stores such a model: %s",
                               text_of(m, "weights_planned_as"));
        line(out, "weights", text);
        xfree(text);
    }
    if (training) {
        char *text = xasprintf("change nothing: a step is taken in micro-batches of %s tokens",
                               grouped(count_of(training, "micro_batch_tokens"), a));
        line(out, "rows per step", text);
        xfree(text);
    }
    if (machine) {
        char total[16], available[16];
        char *text = xasprintf("%s, of which %s are available",
                               str_format_bytes(count_of(machine, "total_bytes"), total),
                               str_format_bytes(count_of(machine, "available_bytes"), available));
        line(out, "this machine", text);
        xfree(text);
    }
}

static void checks(const struct json *facts, struct buf *out)
{
    const struct json *list = json_get(facts, "checked");
    if (json_count(list) > 0)
        title(out, "checked, and found right");
    for (const struct json *i = json_first(list); i; i = json_next(i))
        buf_printf(out, "  %s\n", json_string(i));
    if (text_of(facts, "unchecked")) {
        title(out, "not checked");
        buf_printf(out, "  %s\n", text_of(facts, "unchecked"));
    }
}

void sheet_write(const struct json *facts, struct buf *out)
{
    head(facts, out);
    identity(facts, out);
    package(facts, out);
    belongs(facts, out);
    facets(facts, out);
    counts(facts, out);
    tensors(facts, out);
    metadata(facts, out);
    memory(facts, out);
    checks(facts, out);
}
