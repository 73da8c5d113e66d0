#include "stages/inspect/sheet.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

#define WIDTH 100
#define LABEL 26        /* columns of a label behind its indentation of two */
#define SHOWN_BYTES 300 /* of a text in the metadata */

static uint64_t count_of(const struct json *o, const char *key)
{
    return (uint64_t)json_number_or(o, key, 0);
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
    static const struct {
        const char *format, *says;
    } formats[] = {{"pt", ", saved by PyTorch"}, {"peft", ", of PEFT"}, {"mlx", ", of MLX"}};
    const char *what = json_find_text(facts, "what"), *says = what, *of = "";
    const char *format = json_find_text(facts, "format");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (str_eq(kinds[i].what, what))
            says = kinds[i].says;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0] && format; i++)
        if (str_eq(formats[i].format, format))
            of = formats[i].says;
    buf_printf(out, "%s: %s%s\n", json_find_text(facts, "path"), says, of);
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
    line_if(out, "name", json_find_text(t, "label"));
    line_if(out, "description", json_find_text(t, "description"));
    line_if(out, "layout", json_find_text(t, "layout"));
    line_if(out, "signature", json_find_text(t, "signature"));
    if (t && json_get(t, "os"))
        list_text(json_get(t, "os"), &os);
    line_if(out, "systems", buf_text(&os));
    line_if(out, "SHA-256 of the base", json_find_text(facts, "base_content_id"));
    line_if(out, "SHA-256", json_find_text(facts, "content_id"));
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
    bool present = json_is_true(file, "present");
    const char *first = !present ? "absent" : "there";
    if (present && json_get(file, "bytes"))
        first = str_format_bytes(count_of(file, "bytes"), size);
    buf_printf(out, "  %-*s%10s  %s\n", LABEL, label, first, json_string(json_get(file, "path")));
    if (!present && json_find_text(file, "missing"))
        line(out, "", json_find_text(file, "missing"));
}

static void facet_line(const struct json *f, struct buf *out)
{
    const char *name = json_find_text(f, "name"), *type = json_find_text(f, "type");
    for (const struct json *file = json_first(json_get(f, "files")); file; file = json_next(file)) {
        const char *choice = json_find_text(file, "choice");
        char *label =
            choice ? xasprintf("%s, %s %s", name, json_find_text(f, "by"), choice) : xstrdup(name);
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
        buf_printf(out, "  %-*s%10s  made by stage %s, of\n", LABEL, name, "",
                   json_find_text(f, "run"));
    for (const struct json *file = json_items(f, "inputs"); file; file = json_next(file))
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
    line_if(out, "name", json_find_text(p, "name"));
    line_if(out, "author", json_find_text(p, "author"));
    line_if(out, "description", json_find_text(p, "description"));
    line_if(out, "licence", json_find_text(p, "license"));
    buf_printf(out, "  %-*s%s\n", LABEL, "adapter_weights.bin",
               str_format_bytes(count_of(p, "bytes"), size));
    buf_printf(out, "  %-*s%g, alpha %g (y += alpha / rank x A B)\n", LABEL, "rank",
               json_number_or(p, "rank", 0), json_number_or(p, "alpha", 0));
    line(out, "draft", json_is_true(p, "has_draft") ? "in the package" : "none in the package");
    buf_printf(out, "  %-*s%g\n", LABEL, "draft tokens at a time",
               json_number_or(p, "draft_token_count", 0));
    line_if(out, "made from adapter", json_find_text(p, "adapter"));
}

static void belongs(const struct json *facts, struct buf *out)
{
    const struct json *b = json_get(facts, "belongs");
    if (json_get(facts, "rank") && !json_get(facts, "alpha"))
        buf_printf(out,
                   "  %-*s%g; the file says no alpha, Apple's toolkit takes half of the rank\n",
                   LABEL, "rank of its adapter", json_number_or(facts, "rank", 0));
    else if (json_get(facts, "rank"))
        buf_printf(out, "  %-*s%g, alpha %g (y += alpha / rank x A B)\n", LABEL, "rank",
                   json_number_or(facts, "rank", 0), json_number_or(facts, "alpha", 0));
    if (!b)
        return;
    line_if(out, "base's signature", json_find_text(b, "signature"));
    line_if(out, "SHA-256 of its base", json_find_text(b, "base"));
    if (!json_find_text(b, "base") && !json_find_text(b, "signature"))
        line(out, "base", "the file does not say which");
    if (json_find_text(b, "toolkit")) {
        char *text =
            xasprintf("%s in %s", json_find_text(b, "toolkit"), json_find_text(b, "folder"));
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
        grouped(count_of(s, "vocab"), v), json_number_or(s, "hidden", 0),
        json_number_or(s, "layers_0", 0), json_number_or(s, "layers_1", 0),
        json_number_or(s, "heads", 0), json_number_or(s, "kv_heads", 0),
        json_number_or(s, "head_dim", 0), json_number_or(s, "ffn", 0),
        grouped(count_of(s, "context"), c), json_number_or(s, "rope_theta", 0),
        json_number_or(s, "norm_eps", 0), json_is_true(s, "kv_quant") ? "yes" : "no");
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
    char *note = xasprintf("%g tensors", json_number_or(c, "tensors", 0));
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
    char *note = xasprintf("%g modules, %g tensors", json_number_or(c, "modules", 0),
                           json_number_or(c, "lora_tensors", 0));
    char *label = xasprintf("adapter of rank %g", json_number_or(c, "rank", 0));
    count_row(out, two ? "LoRA in segment 0" : "LoRA in a layer", count_of(c, "lora_0"),
              count_of(c, "layers_0"), "");
    if (two)
        count_row(out, "LoRA in segment 1", count_of(c, "lora_1"), count_of(c, "layers_1"), "");
    count_row(out, label, count_of(c, "lora"), 0, note);
    xfree(label);
    xfree(note);
    note = xasprintf("%g adapted linears", json_number_or(c, "linears", 0));
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
        buf_printf(out, "  %-*s%15.0f%17s%14s\n", LABEL, json_find_text(g, "form"),
                   json_number_or(g, "tensors", 0), grouped(count_of(g, "values"), a),
                   str_format_bytes(count_of(g, "bytes"), size));
    buf_printf(out, "  %-*s%15.0f%17s%14s\n", LABEL, "file", json_number_or(t, "count", 0), "",
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
        buf_printf(out, "  %-*s%12s\n", LABEL, json_find_text(i, "name"),
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
    const struct json *m = json_get(facts, "memory"), *machine = json_get(m, "machine");
    const struct json *training = json_get(m, "training");
    const struct json *answering = json_get(m, "answering");
    char a[32], b[32];
    if (!m)
        return;
    if (training) {
        buf_printf(out, "\nmemory of training: rank %g, %s rows of at most %s tokens, %g threads\n",
                   json_number_or(training, "rank", 0), grouped(count_of(training, "rows"), a),
                   grouped(count_of(training, "row_tokens"), b), json_number_or(m, "threads", 0));
        plan(training, machine, out);
    }
    buf_printf(out, "\nmemory of answering: %g at a time, %s tokens, %g threads\n",
               json_number_or(answering, "sequences", 0),
               grouped(count_of(answering, "positions"), a), json_number_or(m, "threads", 0));
    plan(answering, machine, out);
    buf_add_char(out, '\n');
    if (json_find_text(m, "weights_planned_as")) {
        char *text = xasprintf("not there in the form of this program; planned in it: %s",
                               json_find_text(m, "weights_planned_as"));
        line(out, "weights", text);
        xfree(text);
    }
    if (json_get(m, "weights_bf16_bytes")) {
        char *text = xasprintf("if import finds them on no grid of 2 or 4 bits: %s in bf16, twice "
                               "that in fp32, instead of %s",
                               str_format_bytes(count_of(m, "weights_bf16_bytes"), a),
                               str_format_bytes(count_of(m, "weights_planned_bytes"), b));
        line(out, "", text);
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
    if (json_find_text(facts, "unchecked")) {
        title(out, "not checked");
        buf_printf(out, "  %s\n", json_find_text(facts, "unchecked"));
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
