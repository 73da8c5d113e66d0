#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"

bool fuzz_taken;

static void fill(int fd, const void *bytes, size_t n_bytes)
{
    CHECK(ftruncate(fd, 0) == 0);
    CHECK(n_bytes == 0 || pwrite(fd, bytes, n_bytes, 0) == (ssize_t)n_bytes);
}

/* A new file without a place on disk, and a path to it. */
static int open_memory(char *path, size_t path_bytes)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    CHECK(fd >= 0);
    snprintf(path, path_bytes, "/proc/self/fd/%d", fd);
    return fd;
}

const char *fuzz_file(const void *bytes, size_t n_bytes)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0)
        fd = open_memory(path, sizeof path);
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

/* Links to files without a place on disk: thousands of small writes cost nothing. */
void fuzz_folder_put(const char *name, const void *bytes, size_t n_bytes)
{
    enum { FILES_MAX = 4 };
    static struct {
        const char *name;
        int fd;
    } files[FILES_MAX];
    int i = 0;
    while (files[i].name != NULL && !str_eq(files[i].name, name))
        CHECK(++i < FILES_MAX);
    if (files[i].name == NULL) {
        char link[128], target[64];
        files[i].name = name;
        files[i].fd = open_memory(target, sizeof target);
        snprintf(link, sizeof link, "%s/%s", fuzz_folder(), name);
        CHECK(symlink(target, link) == 0);
    }
    fill(files[i].fd, bytes, n_bytes);
}
