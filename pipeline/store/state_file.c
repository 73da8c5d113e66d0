#include "pipeline/store/state_file.h"

#include <string.h>

#include "pipeline/base/bytes.h"
#include "pipeline/base/xalloc.h"

#define MAGIC "FMSTATE1"
#define HEADER_BYTES 16
#define SUM_BYTES 8

/*
 * FNV-1a over words. Each step is a bijection of the sum and of the word, so that a file in which
 * one word differs never has the same sum. Starting libcrypto would take longer than the run.
 */
static uint64_t sum_of(const void *bytes, size_t n_bytes)
{
    const unsigned char *p = bytes;
    uint64_t h = 1469598103934665603u;
    size_t i = 0;
    for (; i + 8 <= n_bytes; i += 8) {
        h = (h ^ bytes_get_u64(p + i)) * 1099511628211u;
        h ^= h >> 32;
    }
    for (; i < n_bytes; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

char *state_file_path(const char *home, const char *question, size_t question_bytes)
{
    char name[32];
    snprintf(name, sizeof name, "state/%016llx",
             (unsigned long long)sum_of(question, question_bytes));
    return file_join(home, name);
}

static void add_text(struct buf *b, const char *text, size_t n_bytes)
{
    buf_add_u32(b, (uint32_t)n_bytes);
    buf_add(b, text, n_bytes);
}

static int make_room(const char *home, struct err *e)
{
    char *folder = file_join(home, "state");
    struct file_list names = {0};
    int rc = file_make_folder(folder, e);
    if (rc == 0)
        rc = file_list_names(folder, &names, e);
    for (size_t i = 0; i < names.n_paths && names.n_paths >= STATE_FILES_MAX && rc == 0; i++) {
        char *path = file_join(folder, names.paths[i]);
        rc = file_remove_tree(path, e);
        xfree(path);
    }
    file_list_release(&names);
    xfree(folder);
    return rc;
}

int state_file_write(const char *home, const struct state_file *s, struct err *e)
{
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    buf_add(&b, MAGIC, 8);
    buf_add_u64(&b, 0);
    add_text(&b, s->question, s->question_bytes);
    add_text(&b, s->text, strlen(s->text) + 1);
    add_text(&b, s->name, strlen(s->name) + 1);
    add_text(&b, s->manifest, strlen(s->manifest) + 1);
    buf_add_u64(&b, s->n_stages);
    buf_add(&b, s->seen, s->seen_bytes);
    bytes_put_u64(b.bytes + 8, b.n_bytes - HEADER_BYTES);
    buf_add_u64(&b, sum_of(b.bytes, b.n_bytes));
    int rc = make_room(home, e);
    char *path = state_file_path(home, s->question, s->question_bytes);
    if (rc == 0)
        rc = file_publish(path, b.bytes, b.n_bytes, 0644, e);
    xfree(path);
    buf_release(&b);
    return rc;
}

/* NULL when it is not whole. */
static const char *take(const unsigned char **p, const unsigned char *end, size_t *n_bytes)
{
    if (end - *p < 4 || (size_t)(end - *p) - 4 < bytes_get_u32(*p))
        return NULL;
    const char *text = (const char *)*p + 4;
    *n_bytes = bytes_get_u32(*p);
    *p += 4 + *n_bytes;
    return text;
}

static const char *take_text(const unsigned char **p, const unsigned char *end)
{
    size_t n_bytes = 0;
    const char *text = take(p, end, &n_bytes);
    return text && n_bytes > 0 && memchr(text, '\0', n_bytes) == text + n_bytes - 1 ? text : NULL;
}

static bool parse(const struct file_map *map, struct state_file *out)
{
    const unsigned char *p = map->bytes;
    if (map->n_bytes < HEADER_BYTES + SUM_BYTES || memcmp(p, MAGIC, 8) != 0 ||
        bytes_get_u64(p + 8) != map->n_bytes - HEADER_BYTES - SUM_BYTES)
        return false;
    const unsigned char *end = p + map->n_bytes - SUM_BYTES;
    if (sum_of(p, map->n_bytes - SUM_BYTES) != bytes_get_u64(end))
        return false;
    size_t n_question = 0;
    p += HEADER_BYTES;
    const char *question = take(&p, end, &n_question);
    if (!question || n_question != out->question_bytes ||
        memcmp(question, out->question, n_question) != 0)
        return false;
    out->text = take_text(&p, end);
    out->name = out->text ? take_text(&p, end) : NULL;
    out->manifest = out->name ? take_text(&p, end) : NULL;
    if (!out->manifest || end - p < 8)
        return false;
    out->n_stages = bytes_get_u64(p);
    out->seen = p + 8;
    out->seen_bytes = (size_t)(end - p) - 8;
    return true;
}

bool state_file_read(const char *home, struct file_map *map, struct state_file *out)
{
    struct err ignored = {0};
    char *path = state_file_path(home, out->question, out->question_bytes);
    bool sound = file_map_open(map, path, &ignored) == 0 && parse(map, out);
    xfree(path);
    return sound;
}
