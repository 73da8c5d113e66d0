#ifndef FMFORGE_STORE_FILE_TIME_H
#define FMFORGE_STORE_FILE_TIME_H

/* Times of files, for telling whether one has changed. */

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Ticks of old kernels are 4 ms. Some file systems keep seconds only, and FAT every other one: of a
 * time without a fraction it is not known that it is not one of theirs. */
#define FILE_TIME_RACY_NS 10000000
#define FILE_TIME_RACY_WHOLE_NS (2000000000 + (int64_t)FILE_TIME_RACY_NS)

static inline int64_t file_time_ns(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Would a change at moment_ns or later give a file another time than this one? */
static inline bool file_time_is_old(int64_t time_ns, int64_t moment_ns)
{
    bool whole = time_ns % 1000000000 == 0;
    return time_ns < moment_ns - (whole ? FILE_TIME_RACY_WHOLE_NS : FILE_TIME_RACY_NS);
}

#endif
