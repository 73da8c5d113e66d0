#include "stages/inspect/subject.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "stages/inspect/facts.h"
#include "stages/inspect/foreign.h"
#include "stages/model/adapted.h"
#include "stages/model/fmadapter.h"

#define RANK_DEFAULT 32

#define KINDS                                                                                    \
    "expected a toolkit's folder (with toolkit.yaml, or as a layout in configs/toolkits has "    \
    "it), a .fmadapter folder (with metadata.json), a safetensors file (base, draft, adapter), " \
    "a .pt file of PyTorch, a folder of PEFT or MLX, or a shape (JSON)"

struct subject {
    const struct stage_run *run;
    const struct inspect_config *config;
    const char *path;
    struct json *toolkit; /* that it is or belongs to; NULL: none is known */
    struct json *facts, *checked;
    struct shape shape;
    bool has_shape;
};

static void put_file_bytes(struct json *o, const char *path)
{
    uint64_t n = 0;
    struct err ignored = {0};
    if (file_size(path, &n, &ignored) == 0)
        json_put_i64(o, "bytes", (int64_t)n);
}

static void put_id(struct json *o, const char *key, const struct content_id *id)
{
    if (id->hex[0] != '\0')
        json_put_string(o, key, id->hex);
}

static void checked(struct subject *s, const char *what)
{
    json_append(s->checked, json_new_string(what));
}

/* A reader's complaint about bytes, with what to do. */
static int damaged(int rc, struct err *e)
{
    size_t used = strlen(e->text);
    if (rc == ERR_FORMAT)
        (void)snprintf(e->text + used, sizeof e->text - used,
                       "; the file is cut, damaged or of another kind: copy it or make it again");
    return rc;
}

/* --- the toolkit's files --- */

static const struct json *facet(const struct subject *s, const char *name)
{
    const struct json *f = s->toolkit ? json_first(json_get(s->toolkit, "facets")) : NULL;
    while (f && !str_eq(json_string(json_get(f, "name")), name))
        f = json_next(f);
    return f;
}

/* The file of a facet that is one, NULL when it is not there. */
static const char *facet_file(const struct subject *s, const char *name)
{
    const struct json *f = facet(s, name), *file = f ? json_first(json_get(f, "files")) : NULL;
    if (!file || json_get(file, "choice") || !json_bool(json_get(file, "present")))
        return NULL;
    return json_string(json_get(file, "path"));
}

/* The shape of the toolkit's draft, if it says one. */
static const struct shape *draft_shape(const struct subject *s, struct shape *out)
{
    const char *path = facet_file(s, "draft_shape");
    struct err ignored = {0};
    return path && shape_read(path, out, &ignored) == 0 ? out : NULL;
}

static int toolkit_rank(const struct subject *s)
{
    const struct json *f = facet(s, "export"), *value = json_get(f, "value");
    const struct json *rank = json_get(value, "lora_rank");
    bool fits = json_is_number(rank) && json_is_integer(rank) && json_number(rank) >= 1 &&
                json_number(rank) <= LORA_RANK_MAX;
    return fits ? (int)json_number(rank) : RANK_DEFAULT;
}

static int rank_or(const struct subject *s, int own)
{
    if (s->config->rank > 0)
        return (int)s->config->rank;
    return own > 0 ? own : toolkit_rank(s);
}

static int read_toolkit(struct subject *s, struct err *e)
{
    const char *path = stage_in(s->run, "toolkit");
    int rc = path ? json_read(path, &s->toolkit, e) : 0;
    const char *shape = rc == 0 ? facet_file(s, "shape") : NULL;
    if (shape) {
        rc = shape_read(shape, &s->shape, e);
        s->has_shape = rc == 0;
    }
    return rc;
}

/* The plan with the toolkit's own base where it is there, else with one as it will be. */
static int put_memory(struct subject *s, int rank, struct err *e)
{
    const char *base = facet_file(s, "base"), *draft = facet_file(s, "draft");
    struct model model = {0}, small = {0};
    struct shape draft_shape = {0};
    int rc = base ? model_open(&model, base, e) : 0;
    if (rc == 0 && draft)
        rc = model_open(&small, draft, e);
    if (rc == 0 && !draft && facet_file(s, "draft_shape"))
        rc = shape_read(facet_file(s, "draft_shape"), &draft_shape, e);
    bool has_draft = draft || draft_shape.vocab > 0;
    bool is_draft = s->shape.layers_1 == 0; /* one uniform segment */
    struct facts_model of_base = {.planned_as = NULL}, of_draft = of_base;
    if (rc == 0)
        of_base = base ? facts_model_open(&model) : facts_model_planned(&s->shape, is_draft);
    if (rc == 0 && has_draft)
        of_draft = draft ? facts_model_open(&small) : facts_model_planned(&draft_shape, true);
    if (rc == 0)
        json_put(s->facts, "memory",
                 facts_memory(s->run, &of_base, has_draft ? &of_draft : NULL, rank));
    model_release(&small);
    model_release(&model);
    return rc;
}

static void put_shape(struct subject *s, int rank)
{
    json_put(s->facts, "shape", shape_to_json(&s->shape));
    json_put(s->facts, "counts", facts_counts(&s->shape, rank));
}

/* Which base, and which toolkit has it. */
static void put_belongs(struct subject *s, const char *signature, const struct content_id *base)
{
    struct json *o = json_new_object();
    put_id(o, "base", base);
    if (signature)
        json_put_string(o, "signature", signature);
    if (s->toolkit) {
        json_put_string(o, "toolkit", json_string(json_get(s->toolkit, "label")));
        json_put_string(o, "folder", json_string(json_get(s->toolkit, "folder")));
    }
    json_put(s->facts, "belongs", o);
}

/* --- a toolkit --- */

static struct json *facet_facts(const struct json *f)
{
    struct json *o = json_clone(f);
    struct json *files = json_new_array();
    for (const struct json *file = json_first(json_get(f, "files")); file; file = json_next(file)) {
        struct json *own = json_clone(file);
        if (json_bool(json_get(file, "present")))
            put_file_bytes(own, json_string(json_get(file, "path")));
        json_append(files, own);
    }
    json_put(o, "files", files);
    return o;
}

static int check_base(struct subject *s, const char *path, struct content_id *id, struct err *e)
{
    struct shape own = {0};
    int rc = model_read_shape(path, &own, e);
    if (rc == 0 && s->has_shape && !shape_equal(&own, &s->shape))
        return err_set(e, ERR_FORMAT, "%s: its shape is not that of the facet `shape`", path);
    s->shape = own;
    s->has_shape = true;
    if (rc == 0)
        rc = sha256_file(path, id, NULL, e);
    if (rc != 0)
        return rc;
    json_put_string(s->facts, "base_content_id", id->hex);
    checked(s, "base: the tensors of its shape and no other, every value finite");
    const char *signature = json_string(json_get(s->toolkit, "signature"));
    if (strncmp(id->hex, signature, strlen(signature)) == 0)
        checked(s, "signature: the first 40 digits of the base's SHA-256");
    return 0;
}

static int check_adapter(struct subject *s, const char *path, const struct content_id *base,
                         struct err *e)
{
    struct adapter a = {0};
    int rc = adapter_open(&a, path, &s->shape, e);
    if (rc == 0 && base->hex[0] != '\0' && adapter_check_base(&a, base, e) != 0)
        rc = err_wrap(e, "%s", path);
    adapter_release(&a);
    return rc;
}

static int check_recovery(struct subject *s, const struct content_id *base, struct err *e)
{
    const struct json *f = facet(s, "recovery");
    int rc = 0, n = 0;
    for (const struct json *file = f ? json_first(json_get(f, "files")) : NULL; file && rc == 0;
         file = json_next(file)) {
        if (!json_bool(json_get(file, "present")))
            continue;
        rc = check_adapter(s, json_string(json_get(file, "path")), base, e);
        n++;
    }
    if (rc == 0 && n > 0)
        checked(s, "recovery: the modules of this shape, trained on this base");
    return rc;
}

static int check_draft(struct subject *s, struct err *e)
{
    const char *path = facet_file(s, "draft"), *only_shape = facet_file(s, "draft_shape");
    struct shape draft = {0};
    if (!path && !only_shape)
        return 0;
    int rc = path ? model_read_shape(path, &draft, e) : shape_read(only_shape, &draft, e);
    if (rc == 0 && s->has_shape && draft.vocab != s->shape.vocab)
        rc = err_set(e, ERR_FORMAT, "%s: a vocabulary of %d, the base has %d",
                     path ? path : only_shape, draft.vocab, s->shape.vocab);
    if (rc != 0)
        return rc;
    json_put(s->facts, "draft_shape", shape_to_json(&draft));
    json_put(s->facts, "draft_counts", facts_counts(&draft, 0));
    if (path)
        checked(s, "draft: the tensors of its shape and no other, the base's vocabulary");
    return 0;
}

/* A facet that a stage makes of a file of PyTorch: what that stage would say of names and
 * dimensions. */
static int check_torch(struct subject *s, const char *name, struct err *e)
{
    const char *path = facts_input_file(facet(s, name), "pt");
    struct shape small;
    struct foreign f;
    bool is_draft = str_eq(name, "draft");
    if (!path || !s->has_shape || (is_draft && !draft_shape(s, &small)))
        return 0;
    int rc = foreign_look(path, &s->shape, is_draft ? &small : NULL, &f, e);
    json_free(f.tensors);
    if (rc == 0 && !str_eq(f.what, name))
        rc = err_set(e, ERR_FORMAT, "%s: expected a %s, found %s", path, name,
                     str_eq(f.what, "tensors") ? "other tensors" : f.what);
    if (rc != 0)
        return rc;
    char *text = xasprintf("%s: the names and dimensions of its shape and no other%s", name,
                           f.rank > 0 ? ", and an adapter" : "");
    checked(s, text);
    xfree(text);
    return 0;
}

static int look_toolkit(struct subject *s, struct err *e)
{
    struct json *facets = json_new_array();
    struct content_id base = {0};
    static const char *const texts[] = {"label", "folder", "signature", "description", "layout"};
    struct json *o = json_new_object();
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (json_get(s->toolkit, texts[i]))
            json_put_string(o, texts[i], json_string(json_get(s->toolkit, texts[i])));
    if (facet(s, "os") && json_get(facet(s, "os"), "value"))
        json_put(o, "os", json_clone(json_get(facet(s, "os"), "value")));
    json_put(s->facts, "toolkit", o);
    for (const struct json *f = json_first(json_get(s->toolkit, "facets")); f; f = json_next(f))
        json_append(facets, facet_facts(f));
    json_put(s->facts, "facets", facets);
    const char *path = facet_file(s, "base");
    int rc = path ? check_base(s, path, &base, e) : 0;
    if (rc == 0 && s->has_shape)
        rc = check_recovery(s, &base, e);
    if (rc == 0)
        rc = check_draft(s, e);
    if (rc == 0)
        rc = check_torch(s, "base", e);
    if (rc == 0)
        rc = check_torch(s, "draft", e);
    bool has_tokenizer = false;
    if (rc == 0 && s->has_shape)
        rc = facts_check_tokenizer(facet(s, "tokenizer"), s->shape.vocab, &has_tokenizer, e);
    if (has_tokenizer)
        checked(s, "tokenizer: as many pieces as the vocabulary has, its extra ids within it");
    if (rc != 0 || !s->has_shape)
        return rc;
    int rank = rank_or(s, 0);
    put_shape(s, rank);
    return put_memory(s, rank, e);
}

/* --- a package --- */

static void put_rules(struct subject *s, const char *const *rules)
{
    for (size_t i = 0; rules[i]; i++)
        checked(s, rules[i]);
}

static int look_package(struct subject *s, struct err *e)
{
    struct fmadapter_info info;
    struct adapter a = {0};
    int rc = s->has_shape ? fmadapter_open(s->path, &s->shape, &a, &info, e)
                          : fmadapter_read_info(s->path, &info, e);
    adapter_release(&a);
    if (rc != 0)
        return rc;
    char *weights = file_join(s->path, "adapter_weights.bin");
    char *draft = file_join(s->path, "draft_weights.bin");
    struct json *o = json_new_object();
    json_put_string(o, "name", info.name);
    json_put_i64(o, "rank", info.rank);
    json_put_f64(o, "alpha", FMADAPTER_SCALE * info.rank);
    json_put_i64(o, "draft_token_count", info.draft_token_count);
    json_put_bool(o, "has_draft", file_exists(draft));
    json_put_string(o, "author", info.author);
    json_put_string(o, "description", info.description);
    json_put_string(o, "license", info.license);
    put_id(o, "adapter", &info.adapter);
    put_file_bytes(o, weights);
    json_put(s->facts, "package", o);
    xfree(draft);
    xfree(weights);
    put_belongs(s, info.signature, &info.base);
    put_rules(s, fmadapter_info_rules);
    if (!s->has_shape) {
        json_put_string(
            s->facts, "unchecked",
            "adapter_weights.bin: no toolkit in configs/toolkits has this signature and "
            "a shape; give --toolkit DIR");
        return 0;
    }
    put_rules(s, fmadapter_weights_rules);
    put_shape(s, info.rank);
    return put_memory(s, info.rank, e);
}

/* --- files --- */

static int look_shape(struct subject *s, struct err *e)
{
    struct json *v = NULL;
    int rc = json_read(s->path, &v, e);
    if (rc == 0 && !json_get(v, "vocab"))
        rc = err_set(e, ERR_CONFIG, "%s: found JSON that is no shape (it has no vocab); " KINDS,
                     s->path);
    if (rc == 0 && shape_from_json(v, &s->shape, e) != 0)
        rc = err_wrap(e, "%s", s->path);
    json_free(v);
    if (rc != 0)
        return rc;
    /* One uniform segment is the draft's class, which has no adapter. */
    int rank = s->shape.layers_1 > 0 || s->config->rank > 0 ? rank_or(s, 0) : 0;
    json_put_string(s->facts, "what", "shape");
    put_shape(s, rank);
    json_free(s->toolkit); /* its files are another matter */
    s->toolkit = NULL;
    return put_memory(s, rank, e);
}

/* A base or a draft. */
static int look_model(struct subject *s, const char *kind, struct err *e)
{
    struct model m = {0};
    struct content_id id = {0};
    bool is_base = str_eq(kind, "base");
    int rc = model_open(&m, s->path, e);
    if (rc == 0)
        rc = sha256_file(s->path, &id, NULL, e);
    if (rc == 0) {
        int rank = is_base ? rank_or(s, 0) : 0;
        struct facts_model own = facts_model_open(&m);
        s->shape = m.shape;
        json_put_string(s->facts, "what", kind);
        json_put_string(s->facts, "content_id", id.hex);
        put_shape(s, rank);
        checked(s, "the tensors of its shape and no other, every value finite");
        json_put(s->facts, "memory", facts_memory(s->run, &own, NULL, rank));
    }
    model_release(&m);
    return rc;
}

static int look_adapter(struct subject *s, const struct tensorfile *f, struct err *e)
{
    const char *text = tensorfile_meta(f, "fmforge.shape");
    struct adapter a = {0};
    int rc = 0;
    if (text) {
        rc = shape_parse(text, strlen(text), &s->shape, e);
        s->has_shape = rc == 0;
    }
    if (rc != 0)
        return rc;
    if (!s->has_shape) {
        json_put_string(s->facts, "unchecked",
                        "the modules: the file does not say of which shape; give --toolkit DIR");
        return 0;
    }
    rc = adapter_open(&a, s->path, &s->shape, e);
    if (rc == 0) {
        json_put_string(s->facts, "what", "adapter");
        json_put_i64(s->facts, "rank", a.rank);
        json_put_f64(s->facts, "alpha", a.alpha);
        json_put_f64(s->facts, "scale", a.scale);
        put_belongs(s, NULL, &a.base);
        put_shape(s, a.rank);
        checked(s, "the modules of its shape and no other, one rank, every value finite");
        rc = put_memory(s, a.rank, e);
    }
    adapter_release(&a);
    return rc;
}

/* Does the file have the first module of an adapter of the known shape? */
static bool has_module(const struct subject *s, const struct tensorfile *f)
{
    struct shape_module m;
    char name[SHAPE_NAME_BYTES + 16];
    if (!s->has_shape)
        return false;
    shape_module(&s->shape, 0, 1, &m);
    (void)snprintf(name, sizeof name, "%s.a_transpose", m.name);
    return tensorfile_find(f, name) != NULL;
}

static int look_tensors(struct subject *s, struct err *e)
{
    struct tensorfile f = {0};
    int rc = tensorfile_open(&f, s->path, e);
    if (rc != 0)
        return rc;
    const char *kind = tensorfile_meta(&f, "fmforge.kind");
    json_put_string(s->facts, "what", "tensors");
    json_put(s->facts, "metadata", facts_metadata(&f));
    json_put(s->facts, "tensors", facts_tensors(&f));
    if (kind && (str_eq(kind, "base") || str_eq(kind, "draft")))
        rc = look_model(s, kind, e);
    else if ((kind && str_eq(kind, "adapter")) || (!kind && has_module(s, &f)))
        rc = look_adapter(s, &f, e);
    if (rc == 0 && kind && str_eq(kind, "draft") && tensorfile_meta(&f, "fmforge.base")) {
        struct content_id base = {0};
        (void)snprintf(base.hex, sizeof base.hex, "%s", tensorfile_meta(&f, "fmforge.base"));
        put_belongs(s, NULL, &base);
    } else if (rc == 0 && kind && str_eq(kind, "base") && s->toolkit) {
        struct content_id none = {0};
        put_belongs(s, json_string(json_get(s->toolkit, "signature")), &none);
    }
    tensorfile_close(&f);
    return rc;
}

/* --- what other programs have saved --- */

static void put_foreign(struct subject *s, const struct foreign *f)
{
    json_put_string(s->facts, "what", f->what);
    json_put_string(s->facts, "format", f->format);
    if (f->tensors)
        json_put(s->facts, "tensors", f->tensors);
    if (f->rank > 0)
        json_put_i64(s->facts, "rank", f->rank);
    if (f->alpha > 0)
        json_put_f64(s->facts, "alpha", f->alpha);
    if (f->is_checked)
        checked(s, str_eq(f->what, "base")
                       ? "names and dimensions: those of the toolkit's shape and no other"
                       : "the tensors of the toolkit's shape and no other, every value finite");
    else if (!str_eq(f->what, "tensors"))
        json_put_string(s->facts, "unchecked",
                        "names and dimensions: the file does not say of which shape; give "
                        "--toolkit DIR");
}

static int look_foreign(struct subject *s, struct err *e)
{
    struct shape small;
    struct foreign f;
    int rc = foreign_look(s->path, s->has_shape ? &s->shape : NULL, draft_shape(s, &small), &f, e);
    if (rc != 0) {
        json_free(f.tensors);
        return rc;
    }
    put_foreign(s, &f);
    if (!f.is_checked)
        return 0;
    if (str_eq(f.what, "draft")) {
        struct facts_model planned = facts_model_planned(&small, true);
        s->shape = small;
        put_shape(s, 0);
        json_put(s->facts, "memory", facts_memory(s->run, &planned, NULL, 0));
        return 0;
    }
    int rank = rank_or(s, f.rank);
    put_shape(s, rank);
    return put_memory(s, rank, e);
}

/* What the bytes look like, for whoever took one file for another. */
static const char *guess(const struct file_map *m)
{
    if (m->n_bytes == 0)
        return "nothing at all";
    if (m->n_bytes >= 2 && m->bytes[0] == 0x80 && m->bytes[1] <= 5)
        return "a pickle (old .pt files are such)";
    if (m->bytes[0] == '\n')
        return "perhaps a SentencePiece model";
    return "neither JSON nor a header of safetensors";
}

static int look_file(struct subject *s, struct err *e)
{
    struct file_map m = {0};
    int rc = file_map_open(&m, s->path, e);
    if (rc != 0)
        return rc;
    size_t space = 0;
    while (space < m.n_bytes && strchr(" \t\r\n", m.bytes[space]) && m.bytes[space] != '\0')
        space++;
    bool is_json = space < m.n_bytes && m.bytes[space] == '{';
    bool is_tensors = str_ends(s->path, ".safetensors") || (m.n_bytes > 9 && m.bytes[8] == '{');
    if (is_tensors)
        rc = look_tensors(s, e);
    else if (is_json || str_ends(s->path, ".json"))
        rc = look_shape(s, e);
    else
        rc = err_set(e, ERR_CONFIG, "%s: %zu bytes, found %s; " KINDS, s->path, m.n_bytes,
                     guess(&m));
    file_map_close(&m);
    return rc;
}

static int no_kind_of_folder(const struct subject *s, struct err *e)
{
    struct file_list names = {0};
    struct buf text;
    int rc = file_list_names(s->path, &names, e);
    if (rc != 0)
        return rc;
    buf_init(&text, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < names.n_paths && i < 6; i++)
        buf_printf(&text, "%s%.60s", i > 0 ? ", " : "", names.paths[i]);
    if (names.n_paths > 6)
        buf_printf(&text, " and %zu more", names.n_paths - 6);
    rc = err_set(e, ERR_CONFIG, "%s: a folder with %s; " KINDS, s->path,
                 names.n_paths > 0 ? buf_text(&text) : "nothing in it");
    buf_release(&text);
    file_list_release(&names);
    return rc;
}

/* A folder that the engine knows for a toolkit by a layout. */
static bool by_layout(const struct subject *s)
{
    const struct json *folder = json_get(s->toolkit, "folder");
    size_t n = strlen(s->path);
    while (n > 1 && s->path[n - 1] == '/')
        n--;
    return folder && json_get(s->toolkit, "layout") && strlen(json_string(folder)) == n &&
           strncmp(json_string(folder), s->path, n) == 0;
}

static int look(struct subject *s, struct err *e)
{
    char *yaml = file_join(s->path, "toolkit.yaml"),
         *metadata = file_join(s->path, "metadata.json");
    bool is_folder = file_is_folder(s->path), is_toolkit = file_exists(yaml) || by_layout(s);
    bool is_package = file_exists(metadata) || str_ends(s->path, ".fmadapter");
    xfree(metadata);
    xfree(yaml);
    if (!is_toolkit && !is_package && foreign_format(s->path))
        return look_foreign(s, e);
    if (!is_folder)
        return look_file(s, e);
    if (is_toolkit && !s->toolkit)
        return err_set(e, ERR_CONFIG,
                       "%s: a toolkit's folder is read by fmforge: run fmforge "
                       "inspect %s",
                       s->path, s->path);
    if (is_toolkit || is_package)
        json_put_string(s->facts, "what", is_toolkit ? "toolkit" : "package");
    if (is_toolkit)
        return look_toolkit(s, e);
    return is_package ? look_package(s, e) : no_kind_of_folder(s, e);
}

int subject_facts(const struct stage_run *run, struct json **facts, struct err *e)
{
    struct subject s = {.run = run,
                        .config = run->config,
                        .path = stage_in(run, "path"),
                        .facts = json_new_object(),
                        .checked = json_new_array()};
    json_put_string(s.facts, "schema", "fmforge.inspect/1");
    json_put_string(s.facts, "path", s.path);
    int rc = read_toolkit(&s, e);
    if (rc == 0)
        rc = look(&s, e);
    rc = damaged(rc, e);
    json_put(s.facts, "checked", s.checked);
    json_free(s.toolkit);
    *facts = s.facts;
    return rc;
}
