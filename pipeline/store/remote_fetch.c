#include "pipeline/store/remote_fetch.h"

#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/listing.h"

/* This store failed, not the server. */
static int ours(struct err *why, struct err *e)
{
    return err_set(e, ERR_LIMIT, "this store: %s", why->text);
}

/* Is it here, and whole? Then it stays (store_hold). */
static bool is_here(struct store *s, const char *id_hex, uint64_t *n_bytes)
{
    struct err ignored = {0};
    return store_hold(s, id_hex, false, &ignored) == 0 && store_has(s, id_hex) &&
           store_check_object(s, id_hex, n_bytes, &ignored) == 0;
}

static int download(struct remote_fetch *f, const char *id_hex, uint64_t max_bytes,
                    uint64_t *n_bytes, struct err *e)
{
    char *to = NULL;
    char *name = xasprintf("cas/%s", id_hex);
    struct content_id found = {{0}};
    struct err why = {0};
    int rc = store_temporary(f->store, &to, &why);
    if (rc != 0)
        rc = ours(&why, e);
    else
        rc = http_get(f->http, name, max_bytes, to, &found, n_bytes, e);
    if (rc == 0 && !str_eq(found.hex, id_hex))
        rc = err_set(e, ERR_FORMAT, "%s: its %llu bytes have the SHA-256 %s", name,
                     (unsigned long long)*n_bytes, found.hex);
    if (rc == 0 && store_put_object(f->store, to, &found, NULL, &why) != 0)
        rc = ours(&why, e);
    if (to != NULL)
        unlink(to);
    xfree(name);
    xfree(to);
    return rc;
}

static int get_object(struct remote_fetch *f, const char *id_hex, uint64_t max_bytes,
                      uint64_t *n_bytes, struct err *e)
{
    struct err why = {0};
    if (is_here(f->store, id_hex, n_bytes)) {
        http_skip(f->http, *n_bytes);
        return 0;
    }
    int rc = download(f, id_hex, max_bytes, n_bytes, &why);
    if (rc == ERR_MISSING) /* the record is there, and this is not: half a result */
        return err_set(e, ERR_FORMAT, "its record names what is gone: %s", why.text);
    return rc == 0 ? 0 : err_set(e, why.code, "%s", why.text);
}

static int read_record(struct remote_fetch *f, const char *path, const char *key_hex, struct err *e)
{
    struct buf b;
    struct err why = {0};
    buf_init(&b, BUF_MAX_DEFAULT);
    int rc = file_read(path, REMOTE_RECORD_BYTES_MAX, &b, &why);
    if (rc == 0)
        rc = action_parse(buf_text(&b), b.n_bytes, key_hex, &f->action, &why);
    buf_release(&b);
    if (rc == 0 && f->action.statement.hex[0] == '\0')
        rc = err_set(&why, ERR_FORMAT, "it names no statement");
    return rc == 0 ? 0 : err_set(e, ERR_FORMAT, "ac/%s: no action record: %s", key_hex, why.text);
}

int remote_fetch_record(struct remote_fetch *f, const char *key_hex, char **path, struct err *e)
{
    char *to = NULL;
    char *name = xasprintf("ac/%s", key_hex);
    struct content_id unused;
    struct err why = {0};
    uint64_t n = 0;
    f->action = (struct action){0};
    http_unhurry(f->http);
    int rc = store_temporary(f->store, &to, &why);
    if (rc != 0)
        rc = ours(&why, e);
    else
        rc = http_get(f->http, name, REMOTE_RECORD_BYTES_MAX, to, &unused, &n, e);
    if (rc == 0)
        rc = read_record(f, to, key_hex, e);
    if (rc == 0)
        rc = get_object(f, f->action.statement.hex, REMOTE_TEXT_BYTES_MAX, &n, e);
    if (rc == 0) {
        *path = to;
        to = NULL;
    } else if (to != NULL) {
        unlink(to);
    }
    xfree(name);
    xfree(to);
    return rc;
}

static int wrong_size(const struct action_output *o, uint64_t n, struct err *e)
{
    return err_set(e, ERR_FORMAT, "output `%s`: %llu bytes, its record says %llu", o->name,
                   (unsigned long long)n, (unsigned long long)o->n_bytes);
}

/* The listing first: then it is known what else there is, and all of it together has n_bytes. */
static int get_folder(struct remote_fetch *f, const struct action_output *o, struct err *e)
{
    struct buf listing;
    struct err why = {0};
    uint64_t n = 0, total = 0;
    buf_init(&listing, BUF_MAX_DEFAULT);
    int rc = get_object(f, o->id.hex, REMOTE_TEXT_BYTES_MAX, &n, e);
    if (rc == 0 && store_get_bytes(f->store, o->id.hex, BUF_MAX_DEFAULT, &listing, &why) != 0)
        rc = ours(&why, e);
    if (rc == 0 && listing_check(buf_text(&listing), &why) != 0)
        rc = err_set(e, ERR_FORMAT, "output `%s`: cas/%s is no folder's listing: %s", o->name,
                     o->id.hex, why.text);
    const char *cursor = buf_text(&listing);
    struct content_id id;
    const char *name = NULL;
    size_t n_name = 0;
    while (rc == 0 && listing_next(&cursor, &id, &name, &n_name)) {
        rc = get_object(f, id.hex, o->n_bytes - total, &n, e);
        if (rc == 0 && n > o->n_bytes - total)
            rc = wrong_size(o, total + n, e);
        total += n;
    }
    if (rc == 0 && total != o->n_bytes)
        rc = wrong_size(o, total, e);
    buf_release(&listing);
    return rc;
}

static int get_output(struct remote_fetch *f, const struct action_output *o, struct err *e)
{
    uint64_t n = 0;
    if (o->is_folder)
        return get_folder(f, o, e);
    int rc = get_object(f, o->id.hex, o->n_bytes, &n, e);
    return rc == 0 && n != o->n_bytes ? wrong_size(o, n, e) : rc;
}

/* A tenth of what is free stays for what is made here. */
static int check_room(const struct remote_fetch *f, uint64_t n_bytes, struct err *e)
{
    struct statvfs v;
    if (statvfs(store_home(f->store), &v) != 0)
        return 0;
    uint64_t has = (uint64_t)v.f_bavail * v.f_frsize;
    if (n_bytes <= has - has / 10)
        return 0;
    return err_set(e, ERR_LIMIT, "its outputs have %llu bytes, and the disk has room for %llu",
                   (unsigned long long)n_bytes, (unsigned long long)has);
}

int remote_fetch_objects(struct remote_fetch *f, const char *key_hex, int64_t limit_ms,
                         const char *log_hex, uint64_t *n_bytes, struct err *e)
{
    if (!str_eq(f->action.key.hex, key_hex))
        return err_set(e, ERR_FORMAT, "objects of %s are asked for without its record", key_hex);
    *n_bytes = 0;
    for (size_t i = 0; i < f->action.n_outputs; i++) {
        if (f->action.outputs[i].n_bytes > STORE_OBJECT_BYTES_MAX - *n_bytes)
            return err_set(e, ERR_LIMIT, "output `%s` has more than STORE_OBJECT_BYTES_MAX bytes",
                           f->action.outputs[i].name);
        *n_bytes += f->action.outputs[i].n_bytes;
    }
    int rc = check_room(f, *n_bytes, e);
    if (rc != 0)
        return rc;
    http_hurry(f->http, limit_ms, *n_bytes);
    for (size_t i = 0; i < f->action.n_outputs && rc == 0; i++)
        rc = get_output(f, &f->action.outputs[i], e);
    struct err no_log = {0};
    uint64_t n = 0;
    if (rc == 0 && log_hex != NULL &&
        get_object(f, log_hex, REMOTE_TEXT_BYTES_MAX, &n, &no_log) != 0)
        no_log.text[0] = '\0';
    return rc;
}
