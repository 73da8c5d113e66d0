#include "pipeline/engine/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pipeline/base/check.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif

/* Debian 12's header ends with ABI 2; these are the bits of landlock.rst and stay what they are. */
#define FS_REFER ((uint64_t)1 << 13)       /* ABI 2 */
#define FS_TRUNCATE ((uint64_t)1 << 14)    /* ABI 3 */
#define FS_IOCTL_DEV ((uint64_t)1 << 15)   /* ABI 5 */
#define NET_BIND_TCP ((uint64_t)1 << 0)    /* ABI 4 */
#define NET_CONNECT_TCP ((uint64_t)1 << 1) /* ABI 4 */
#define SCOPE_ABSTRACT ((uint64_t)1 << 0)  /* ABI 6: abstract UNIX sockets */
#define SCOPE_SIGNAL ((uint64_t)1 << 1)    /* ABI 6 */
#define FS_ABI_1 (((uint64_t)1 << 13) - 1) /* bits 0 to 12 */

#define READ_RIGHTS ((uint64_t)LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE_RIGHTS                                                                              \
    (READ_RIGHTS | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | \
     FS_REFER | FS_TRUNCATE)
/* What a rule on a file that is no folder may name. */
#define FILE_RIGHTS                                                         \
    ((uint64_t)LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | \
     LANDLOCK_ACCESS_FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

/* struct landlock_ruleset_attr as of ABI 6; older kernels take its first 8 or 16 bytes. */
struct ruleset {
    uint64_t fs, net, scoped;
};
_Static_assert(sizeof(struct ruleset) == 24, "landlock_ruleset_attr has no padding");

struct sandbox_rights sandbox_rights(int abi)
{
    CHECK(abi >= 1);
    struct sandbox_rights r = {.fs = FS_ABI_1, .attr_bytes = offsetof(struct ruleset, net)};
    if (abi >= 2)
        r.fs |= FS_REFER;
    if (abi >= 3)
        r.fs |= FS_TRUNCATE;
    if (abi >= 4) {
        r.net = NET_BIND_TCP | NET_CONNECT_TCP;
        r.attr_bytes = offsetof(struct ruleset, scoped);
    }
    if (abi >= 5)
        r.fs |= FS_IOCTL_DEV;
    if (abi >= 6) {
        r.scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL;
        r.attr_bytes = sizeof(struct ruleset);
    }
    return r; /* ABI 7 adds what is logged, and no right */
}

static const uint64_t rights_of[] = {READ_RIGHTS, READ_RIGHTS | LANDLOCK_ACCESS_FS_EXECUTE,
                                     WRITE_RIGHTS};

static const struct {
    enum sandbox_use use;
    const char *path;
} common[] = {
    /* Where the dynamic loader and what it maps are; /lib64 is all of /usr/lib on some systems, on
     * Debian it holds a link to the loader, which is in the folder of the architecture. */
    {SANDBOX_EXECUTE, "/lib/x86_64-linux-gnu"},
    {SANDBOX_EXECUTE, "/lib/aarch64-linux-gnu"},
    {SANDBOX_EXECUTE, "/lib/ld-linux-aarch64.so.1"},
    {SANDBOX_EXECUTE, "/lib64"},
    {SANDBOX_EXECUTE, "/usr/lib64"},
    {SANDBOX_EXECUTE, "/usr/local/lib"},
    {SANDBOX_EXECUTE, "/usr/local/lib64"},
    {SANDBOX_READ, "/proc/cpuinfo"},
    /* What machine_memory reads, to warn where a plan does not fit: no output can hold it. */
    {SANDBOX_READ, "/proc/meminfo"},
    {SANDBOX_READ, "/sys/fs/cgroup/memory.max"},
    {SANDBOX_READ, "/sys/fs/cgroup/memory/memory.limit_in_bytes"},
    {SANDBOX_READ, "/sys/devices/system/cpu"},
    {SANDBOX_WRITE, "/dev/null"},
#ifdef IS_SANITIZED
    {SANDBOX_READ, "/proc"}, /* where the sanitizers look at their own process */
#endif
};
_Static_assert(sizeof common / sizeof common[0] <= SANDBOX_PLACES_MAX, "there is a place for each");

/* ldconfig puts a new file there, perhaps while a run works. */
static const char *const replaced[] = {"/etc/ld.so.cache", "/etc/ld.so.preload"};

/* Opens path; 0 or -1 and errno. */
static int open_place(enum sandbox_use use, const char *path, struct sandbox_place *out)
{
    struct stat st;
    out->path = path;
    out->fd = open(path, O_PATH | O_CLOEXEC);
    out->rights = rights_of[use];
    if (out->fd < 0)
        return -1;
    if (fstat(out->fd, &st) != 0) {
        int problem = errno;
        close(out->fd);
        errno = problem;
        return -1;
    }
    if (!S_ISDIR(st.st_mode))
        out->rights &= FILE_RIGHTS;
    return 0;
}

static bool is_absent(int problem)
{
    return problem == ENOENT || problem == ENOTDIR || problem == EACCES;
}

static int open_places(struct sandbox_kernel *k, struct err *e)
{
    for (size_t i = 0; i < sizeof common / sizeof common[0]; i++) {
        if (open_place(common[i].use, common[i].path, &k->places[k->n_places]) == 0)
            k->n_places++;
        else if (!is_absent(errno))
            return err_set_errno(e, errno, "%s: cannot open for the sandbox", common[i].path);
    }
    return 0;
}

void sandbox_kernel_release(struct sandbox_kernel *k)
{
    for (size_t i = 0; i < k->n_places; i++)
        close(k->places[i].fd);
    k->n_places = 0;
}

static int add_rule(const struct sandbox *s, const struct sandbox_place *place)
{
    const struct landlock_path_beneath_attr rule = {
        .allowed_access = place->rights & sandbox_rights(s->abi).fs, .parent_fd = place->fd};
    return (int)syscall(SYS_landlock_add_rule, s->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

int sandbox_look(struct sandbox_kernel *out, struct err *e)
{
    int rc = 0;
    memset(out, 0, sizeof *out);
#ifdef FMFORGE_COVERAGE
    (void)e;
    snprintf(out->text, sizeof out->text, "none: built to count lines, which writes anywhere");
#else
    long abi =
        syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi >= 1) {
        out->abi = abi < SANDBOX_ABI_MAX ? (int)abi : SANDBOX_ABI_MAX;
        snprintf(out->text, sizeof out->text, "landlock ABI %d", out->abi);
        rc = open_places(out, e);
    } else if (errno == ENOSYS) {
        snprintf(out->text, sizeof out->text, "none: the kernel has no Landlock");
    } else if (errno == EOPNOTSUPP) {
        snprintf(out->text, sizeof out->text, "none: Landlock is switched off in the kernel");
    } else {
        snprintf(out->text, sizeof out->text, "none: Landlock: %s", strerror(errno));
    }
#endif
    return rc;
}

int sandbox_open(struct sandbox *s, int abi, struct err *e)
{
    *s = (struct sandbox){abi, -1};
    if (abi == 0)
        return 0;
    struct sandbox_rights r = sandbox_rights(abi);
    struct ruleset attr = {r.fs, r.net, r.scoped};
    s->fd = (int)syscall(SYS_landlock_create_ruleset, &attr, r.attr_bytes, 0);
    return s->fd >= 0 ? 0 : err_set_errno(e, errno, "cannot make a sandbox (landlock)");
}

void sandbox_close(struct sandbox *s)
{
    if (s->fd >= 0)
        close(s->fd);
    *s = (struct sandbox){0, -1};
}

int sandbox_allow(struct sandbox *s, enum sandbox_use use, const char *path, struct err *e)
{
    struct sandbox_place place;
    if (s->fd < 0)
        return 0;
    if (open_place(use, path, &place) != 0)
        return err_set_errno(e, errno, "%s: cannot open for the sandbox", path);
    int rc = 0;
    if (add_rule(s, &place) != 0)
        rc = err_set_errno(e, errno, "%s: cannot allow it in the sandbox", path);
    close(place.fd);
    return rc;
}

int sandbox_allow_program(struct sandbox *s, const struct sandbox_kernel *k, const char *program,
                          struct err *e)
{
    int rc = sandbox_allow(s, SANDBOX_EXECUTE, program, e);
    for (size_t i = 0; i < k->n_places && s->fd >= 0 && rc == 0; i++)
        if (add_rule(s, &k->places[i]) != 0)
            rc = err_set_errno(e, errno, "%s: cannot allow it in the sandbox", k->places[i].path);
    for (size_t i = 0; i < sizeof replaced / sizeof replaced[0] && rc == 0; i++)
        if (access(replaced[i], F_OK) == 0)
            rc = sandbox_allow(s, SANDBOX_READ, replaced[i], e);
    return rc;
}

int sandbox_enter(int fd)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_landlock_restrict_self, fd, 0) != 0)
        return errno;
    return 0;
}
