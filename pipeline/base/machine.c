#include "pipeline/base/machine.h"

#include <stddef.h>
#include <string.h>

#include <stdio.h>

#include "pipeline/base/str.h"

/* The number in the first line of a file that begins with `prefix`, which may be "". */
static bool read_number(const char *path, const char *prefix, uint64_t *out)
{
    char line[256], digits[24];
    bool found = false;
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    while (!found && fgets(line, sizeof line, f) != NULL) {
        if (!str_starts(line, prefix))
            continue;
        const char *at = line + strlen(prefix);
        at += strspn(at, " \t");
        size_t n = strspn(at, "0123456789");
        if (n == 0 || n >= sizeof digits)
            break;
        memcpy(digits, at, n);
        digits[n] = '\0';
        found = str_to_u64(digits, out);
    }
    fclose(f);
    return found;
}

/* Of control groups, version 2 and 1, as a container sees its own. */
static const char *const limit_files[] = {
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
};

bool machine_memory(struct machine_memory *out)
{
    uint64_t total_kib = 0, available_kib = 0, limit = 0;
    if (!read_number("/proc/meminfo", "MemTotal:", &total_kib) ||
        !read_number("/proc/meminfo", "MemAvailable:", &available_kib))
        return false;
    out->total_bytes = total_kib * 1024;
    out->available_bytes = available_kib * 1024;
    for (size_t i = 0; i < sizeof limit_files / sizeof limit_files[0]; i++)
        if (read_number(limit_files[i], "", &limit) && limit > 0 && limit < out->total_bytes)
            out->total_bytes = limit;
    if (out->available_bytes > out->total_bytes)
        out->available_bytes = out->total_bytes;
    return true;
}
