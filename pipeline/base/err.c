#include "pipeline/base/err.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/base/check.h"

int err_set(struct err *e, enum err_code code, const char *format, ...)
{
    CHECK(code < 0);
    if (e->code != 0)
        return e->code;
    e->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    return code;
}

int err_set_errno(struct err *e, int errno_value, const char *format, ...)
{
    if (e->code != 0)
        return e->code;
    e->code = ERR_IO;
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, ": %s", strerror(errno_value));
    return e->code;
}

int err_wrap(struct err *e, const char *format, ...)
{
    CHECK(e->code != 0);
    char text[ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    int used = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    CHECK(used >= 0);
    if ((size_t)used < sizeof text) {
        size_t room = sizeof text - (size_t)used;
        int rest = snprintf(text + used, room, ": %.*s", (int)(room > 3 ? room - 3 : 0), e->text);
        CHECK(rest >= 0);
    }
    memcpy(e->text, text, sizeof text);
    return e->code;
}

int err_exit_status(const struct err *e)
{
    return e->code == ERR_CONFIG ? 2 : 1;
}
