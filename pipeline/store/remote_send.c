#include "pipeline/store/remote_send.h"

#include <string.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/listing.h"
#include "pipeline/store/remote_fetch.h"

struct sending {
    struct http *http;
    struct store *store;
    bool replace;
    uint64_t n_bytes;
};

static int unreadable_here(const struct err *why, struct err *e)
{
    return err_set(e, ERR_FORMAT, "this store: %s", why->text);
}

static int put_bytes(struct sending *s, const char *id_hex, const void *bytes, uint64_t n_bytes,
                     struct err *e)
{
    char *name = xasprintf("cas/%s", id_hex);
    struct err absent = {0};
    int rc = s->replace ? ERR_MISSING : http_head(s->http, name, n_bytes, &absent);
    if (rc == ERR_MISSING) {
        rc = http_put(s->http, name, bytes, n_bytes, e);
        s->n_bytes += rc == 0 ? n_bytes : 0;
    } else if (rc != 0) {
        rc = err_set(e, absent.code, "%s", absent.text);
    }
    xfree(name);
    return rc;
}

static int put_file(struct sending *s, const char *id_hex, const char *path, struct err *e)
{
    struct file_map m;
    struct err why = {0};
    if (file_map_open(&m, path, &why) != 0)
        return unreadable_here(&why, e);
    int rc = put_bytes(s, id_hex, m.bytes, m.n_bytes, e);
    file_map_close(&m);
    return rc;
}

/* An object that is text: a listing, a statement, a log. *out holds it afterwards. */
static int put_text(struct sending *s, const char *id_hex, struct buf *out, struct err *e)
{
    struct err why = {0};
    if (store_get_bytes(s->store, id_hex, REMOTE_TEXT_BYTES_MAX, out, &why) != 0)
        return unreadable_here(&why, e);
    return put_bytes(s, id_hex, out->bytes, out->n_bytes, e);
}

static int put_folder(struct sending *s, const char *id_hex, const char *path, struct err *e)
{
    struct buf listing;
    buf_init(&listing, BUF_MAX_DEFAULT);
    int rc = put_text(s, id_hex, &listing, e);
    const char *cursor = buf_text(&listing);
    struct content_id id;
    const char *name = NULL;
    size_t n_name = 0;
    while (rc == 0 && listing_next(&cursor, &id, &name, &n_name)) {
        char *file = xasprintf("%s/%.*s", path, (int)n_name, name);
        rc = put_file(s, id.hex, file, e);
        xfree(file);
    }
    buf_release(&listing);
    return rc;
}

static int put_output(struct sending *s, const struct action_output *o, struct err *e)
{
    char *path = NULL;
    struct err why = {0};
    if (store_raw(s->store, o->id.hex, o->is_folder, &path, &why) != 0)
        return unreadable_here(&why, e);
    int rc = o->is_folder ? put_folder(s, o->id.hex, path, e) : put_file(s, o->id.hex, path, e);
    xfree(path);
    return rc;
}

static int put_record(struct sending *s, struct action *a, struct err *e)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    a->origin[0] = '\0';
    action_write(a, &b);
    char *name = xasprintf("ac/%s", a->key.hex);
    int rc = http_put(s->http, name, b.bytes, b.n_bytes, e);
    s->n_bytes += rc == 0 ? b.n_bytes : 0;
    buf_release(&b);
    xfree(name);
    return rc;
}

int remote_send(struct http *h, struct store *store, const char *key_hex, const char *log_hex,
                bool replace, uint64_t *n_bytes, struct err *e)
{
    struct sending s = {h, store, replace, 0};
    struct action a;
    struct buf text;
    struct err why = {0};
    bool found = false;
    buf_init(&text, BUF_MAX_DEFAULT);
    http_unhurry(h);
    int rc = store_action_get(store, key_hex, &a, &found, &why);
    if (rc != 0 || !found)
        rc = rc != 0 ? unreadable_here(&why, e)
                     : err_set(e, ERR_FORMAT, "this store: the result is gone");
    for (size_t i = 0; rc == 0 && i < a.n_outputs; i++)
        rc = put_output(&s, &a.outputs[i], e);
    if (rc == 0 && a.statement.hex[0] != '\0')
        rc = put_text(&s, a.statement.hex, &text, e);
    if (rc == 0 && log_hex != NULL)
        rc = put_text(&s, log_hex, &text, e);
    if (rc == 0)
        rc = put_record(&s, &a, e);
    buf_release(&text);
    *n_bytes = s.n_bytes;
    return rc;
}
