#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"

bool fuzz_taken;

static void fill(int fd, const void *bytes, size_t n_bytes)
{
    CHECK(ftruncate(fd, 0) == 0);
    CHECK(n_bytes == 0 || pwrite(fd, bytes, n_bytes, 0) == (ssize_t)n_bytes);
}

const char *fuzz_file(const void *bytes, size_t n_bytes)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        CHECK(fd >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    fill(fd, bytes, n_bytes);
    return path;
}

static const char *folder_of(long process)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/fmforge-fuzz-%ld", process);
    return path;
}

void fuzz_folder_remove(long process)
{
    struct err e = {0};
    if (file_remove_tree(folder_of(process), &e) != 0)
        fprintf(stderr, "%s\n", e.text);
}

static void remove_own(void)
{
    fuzz_folder_remove((long)getpid());
}

const char *fuzz_folder(void)
{
    static bool made;
    const char *path = folder_of((long)getpid());
    if (!made) {
        CHECK(mkdir(path, 0700) == 0);
        CHECK(atexit(remove_own) == 0);
        made = true;
    }
    return path;
}

void fuzz_folder_put(const char *name, const void *bytes, size_t n_bytes)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    fill(fd, bytes, n_bytes);
    CHECK(close(fd) == 0);
}
