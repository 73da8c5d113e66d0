#ifndef FMFORGE_ENGINE_SANDBOX_H
#define FMFORGE_ENGINE_SANDBOX_H

/*
 * What a stage may touch, enforced by the kernel with Landlock (Linux 5.13 and later; the kernel's
 * Documentation/userspace-api/landlock.rst, version 6.15 for ABI 7). Everything that the kernel's
 * ABI can refuse is refused, and then given back path by path:
 *
 *   read                 the config, each declared input, what describes CPU and memory
 *   read and execute     the stage's program; shared libraries in the loader's folders
 *   read and write       the attempt folder (outputs, events), the work folder, /dev/null
 *
 * Binding and connecting TCP sockets (ABI 4), device ioctls (5), signals and abstract sockets to
 * processes outside (6) are refused altogether. Not refused by any ABI yet: looking at a path's
 * type, size and times, datagrams, sockets with a path. The stage sees EACCES and names the path.
 */

#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/err.h"

/* The newest ABI whose rights are known here; a newer kernel is used as this one. */
#define SANDBOX_ABI_MAX 7

/* What one ABI can refuse, as struct landlock_ruleset_attr takes it. */
struct sandbox_rights {
    uint64_t fs, net, scoped;
    size_t attr_bytes; /* the part of the struct that this ABI knows */
};

/* abi: 1 or more. */
struct sandbox_rights sandbox_rights(int abi);

/* Paths that every stage may use. */
#define SANDBOX_PLACES_MAX 16

struct sandbox_place {
    const char *path;
    int fd;          /* O_PATH */
    uint64_t rights; /* of any ABI */
};

struct sandbox_kernel {
    int abi;        /* 1 to SANDBOX_ABI_MAX; 0: stages run without a sandbox */
    char text[128]; /* "landlock ABI 7" or "none: the kernel has no Landlock" */
    struct sandbox_place places[SANDBOX_PLACES_MAX]; /* those that are there, opened once */
    size_t n_places;
};

/* What the kernel can do. Released by sandbox_kernel_release, also after an error. */
int sandbox_look(struct sandbox_kernel *out, struct err *e) MUST_USE;
void sandbox_kernel_release(struct sandbox_kernel *k); /* safe on zeroed and twice */

struct sandbox {
    int abi;
    int fd; /* of the ruleset; -1: nothing is refused */
};

enum sandbox_use {
    SANDBOX_READ,    /* a file, or a folder and all below */
    SANDBOX_EXECUTE, /* the same, and it may be run or mapped as a program */
    SANDBOX_WRITE,   /* read, and make, change and remove files and folders below */
};

/* An empty ruleset, which refuses everything; with abi 0 one that refuses nothing. */
int sandbox_open(struct sandbox *s, int abi, struct err *e) MUST_USE;
void sandbox_close(struct sandbox *s);
int sandbox_allow(struct sandbox *s, enum sandbox_use use, const char *path,
                  struct err *e) MUST_USE;
/* The program, the loader's folders, /dev/null and what describes CPU and memory. */
int sandbox_allow_program(struct sandbox *s, const struct sandbox_kernel *k, const char *program,
                          struct err *e) MUST_USE;

/* Between fork and exec, for good: system calls only. Returns 0 or errno. */
int sandbox_enter(int fd);

#endif
