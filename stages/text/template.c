#include "stages/text/template.h"

#include <string.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/file.h"
#include "pipeline/base/json.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/xalloc.h"

const char *const TEMPLATE_PIECES[TEMPLATE_N_PIECES] = {
    "<turn_start>", "<turn_end>", "<n>", "<executable_start>", "<executable_end>",
};

static int take_piece(const struct json *v, const char *key, char **out, struct err *e)
{
    const char *text = NULL;
    int status = json_need_string(v, key, &text, e);
    if (status < 0)
        return status;
    if (text[0] == '\0' || strpbrk(text, " \n\r\t,"))
        return err_set(e, ERR_FORMAT,
                       "key \"%s\": expected a piece without spaces and commas, found \"%s\"", key,
                       text);
    *out = xstrdup(text);
    return 0;
}

static int fill(struct template *t, const struct json *v, struct err *e)
{
    static const char *const keys[] = {"turn_start", "turn_end", "newline", "default_system"};
    const char *text = NULL;
    int status = json_only_keys(v, keys, sizeof keys / sizeof keys[0], e);
    for (int i = TEMPLATE_TURN_START; i <= TEMPLATE_NEWLINE && status == 0; i++)
        status = take_piece(v, keys[i], &t->pieces[i], e);
    if (status == 0)
        status = json_need_string(v, "default_system", &text, e);
    if (status < 0)
        return status;
    size_t n = strlen(text);
    if (n > 0 && (text[0] == ' ' || text[n - 1] == ' '))
        return err_set(e, ERR_FORMAT, "key \"default_system\": may not start or end with a space");
    t->default_system = xstrdup(text);
    for (int i = TEMPLATE_EXECUTABLE_START; i < TEMPLATE_N_PIECES; i++)
        t->pieces[i] = xstrdup(TEMPLATE_PIECES[i]);
    const char *found = template_find(t, text);
    if (found)
        return err_set(e, ERR_FORMAT, "key \"default_system\": holds the special piece %s", found);
    return 0;
}

int template_parse(struct template *t, const char *text, size_t n_bytes, struct err *e)
{
    struct json *root = NULL;
    *t = (struct template){0};
    int status = json_parse(text, n_bytes, &root, e);
    if (status < 0)
        return status;
    if (json_type(root) != JSON_OBJECT)
        status =
            err_set(e, ERR_FORMAT, "expected an object, found %s", json_type_name(json_type(root)));
    if (status == 0)
        status = fill(t, root, e);
    json_free(root);
    if (status < 0)
        template_release(t);
    return status;
}

int template_read(struct template *t, const char *path, struct err *e)
{
    struct buf text;
    *t = (struct template){0};
    buf_init(&text, BUF_MAX_DEFAULT);
    int status = file_read(path, LIMIT_JSON_BYTES, &text, e);
    if (status == 0) {
        status = template_parse(t, buf_text(&text), text.n_bytes, e);
        if (status < 0)
            status = err_wrap(e, "%s", path);
    }
    buf_release(&text);
    return status;
}

void template_release(struct template *t)
{
    for (int i = 0; i < TEMPLATE_N_PIECES; i++)
        xfree(t->pieces[i]);
    xfree(t->default_system);
    *t = (struct template){0};
}

const char *template_find(const struct template *t, const char *text)
{
    const char *first = NULL;
    const char *found = NULL;
    for (int i = 0; i < TEMPLATE_N_PIECES; i++) {
        const char *at = t->pieces[i] ? strstr(text, t->pieces[i]) : NULL;
        if (at && (!first || at < first)) {
            first = at;
            found = t->pieces[i];
        }
    }
    return found;
}
