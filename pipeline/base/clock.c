#include "pipeline/base/clock.h"

#include <string.h>
#include <time.h>

#include "pipeline/base/buf.h"
#include "pipeline/base/check.h"

double clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

long long clock_unix_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

double clock_seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

char *clock_text(int64_t unix_ms, char out[25])
{
    int64_t seconds = unix_ms / 1000;
    int64_t ms = unix_ms % 1000;
    if (ms < 0) {
        ms += 1000;
        seconds--;
    }
    time_t t = (time_t)seconds;
    struct tm tm;
    memset(&tm, 0, sizeof tm);
    CHECK(gmtime_r(&t, &tm) != NULL);
    CHECK(tm.tm_year >= 70 && tm.tm_year < 8100);
    struct buf b;
    buf_init(&b, 64);
    buf_printf(&b, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
               tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)ms);
    CHECK(b.n_bytes == 24);
    memcpy(out, buf_text(&b), 25);
    buf_release(&b);
    return out;
}
