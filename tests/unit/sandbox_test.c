#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/engine/sandbox.h"
#include "tests/unit/scratch.h"

static char folder[SCRATCH_BYTES];

static int make_folder(void **state)
{
    (void)state;
    struct err e = {0};
    if (scratch_open(folder) != 0 || chdir(folder) != 0)
        return -1;
    if (mkdir("in", 0755) != 0 || mkdir("out", 0755) != 0 || mkdir("out/deep", 0755) != 0)
        return -1;
    return file_write("in/a", "a", 1, &e) + file_write("other", "b", 1, &e) +
           file_write("out/old", "c", 1, &e);
}

static int remove_folder(void **state)
{
    (void)state;
    return chdir("/") + scratch_remove(folder);
}

static void every_abi_refuses_what_it_can(void **state)
{
    (void)state;
    static const struct {
        int abi, n_fs, n_net, n_scoped;
        size_t attr_bytes;
    } expected[] = {{1, 13, 0, 0, 8},  {2, 14, 0, 0, 8},  {3, 15, 0, 0, 8}, {4, 15, 2, 0, 16},
                    {5, 16, 2, 0, 16}, {6, 16, 2, 2, 24}, {7, 16, 2, 2, 24}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        struct sandbox_rights r = sandbox_rights(expected[i].abi);
        assert_int_equal(__builtin_popcountll(r.fs), expected[i].n_fs);
        assert_int_equal(__builtin_popcountll(r.net), expected[i].n_net);
        assert_int_equal(__builtin_popcountll(r.scoped), expected[i].n_scoped);
        assert_int_equal(r.attr_bytes, expected[i].attr_bytes);
    }
}

/* What is tried inside; each returns 0 or errno. */
static int try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0644);
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

static int try_connect(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int rc = connect(fd, (struct sockaddr *)&to, sizeof to) == 0 ? 0 : errno;
    close(fd);
    return rc;
}

/* The number of the first expectation that fails, 0 when all hold. */
static int inside(int abi)
{
    struct stat st;
    int n = 0;
#define EXPECT(condition) \
    do {                  \
        n++;              \
        if (!(condition)) \
            return n;     \
    } while (0)
    EXPECT(try_open("in/a", O_RDONLY) == 0);
    EXPECT(try_open("in", O_RDONLY | O_DIRECTORY) == 0);
    EXPECT(try_open("in/a", O_WRONLY) == EACCES);
    EXPECT(try_open("in/new", O_WRONLY | O_CREAT) == EACCES);
    EXPECT(try_open("other", O_RDONLY) == EACCES);
    EXPECT(try_open(".", O_RDONLY | O_DIRECTORY) == EACCES);
    EXPECT(unlink("other") != 0 && errno == EACCES);
    EXPECT(mkdir("new", 0755) != 0 && errno == EACCES);
    EXPECT(rename("in/a", "out/a") != 0 && (errno == EACCES || errno == EXDEV));
    EXPECT(link("in/a", "out/b") != 0 && (errno == EACCES || errno == EXDEV));
    EXPECT(symlink("x", "out/link") != 0 && errno == EACCES);
    EXPECT(mkfifo("out/fifo", 0644) != 0 && errno == EACCES);
    EXPECT(try_open("out/new", O_RDWR | O_CREAT | O_TRUNC) == 0);
    EXPECT(rename("out/new", "out/newer") == 0 && truncate("out/newer", 0) == 0);
    EXPECT(mkdir("out/folder", 0755) == 0 && rmdir("out/folder") == 0);
    EXPECT(unlink("out/newer") == 0);
    EXPECT(try_open("/dev/null", O_RDWR) == 0);
    EXPECT(try_open("/etc/passwd", O_RDONLY) == EACCES);
    EXPECT(stat("other", &st) == 0); /* no ABI refuses looking */
    EXPECT((rename("out/old", "out/deep/old") == 0) == (abi >= 2));
    EXPECT(abi < 2 || rename("out/deep/old", "out/old") == 0);
    EXPECT((truncate("other", 1) == 0) == (abi < 3));
    EXPECT((try_connect() == EACCES) == (abi >= 4));
    EXPECT((kill(getppid(), 0) == 0) == (abi < 6));
#undef EXPECT
    return 0;
}

static int wait_for(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void each_abi_of_this_kernel(void **state)
{
    (void)state;
    struct sandbox_kernel kernel;
    struct err ignored = {0};
    assert_int_equal(sandbox_look(&kernel, &ignored), 0);
    if (kernel.abi == 0) {
        print_message("skipped: %s\n", kernel.text);
        skip();
    }
    for (int abi = 1; abi <= kernel.abi; abi++) {
        struct sandbox s;
        struct err e = {0};
        assert_int_equal(sandbox_open(&s, abi, &e), 0);
        assert_int_equal(sandbox_allow_program(&s, &kernel, "/proc/self/exe", &e), 0);
        assert_int_equal(sandbox_allow(&s, SANDBOX_READ, "in", &e), 0);
        assert_int_equal(sandbox_allow(&s, SANDBOX_WRITE, "out", &e), 0);
        pid_t child = fork();
        if (child == 0)
            _exit(sandbox_enter(s.fd) != 0 ? 100 : inside(abi));
        int failed = wait_for(child);
        if (failed != 0)
            fail_msg("ABI %d: expectation %d does not hold", abi, failed);
        sandbox_close(&s);
    }
    sandbox_kernel_release(&kernel);
}

static void a_path_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct sandbox_kernel kernel;
    struct sandbox s;
    struct err e = {0};
    assert_int_equal(sandbox_look(&kernel, &e), 0);
    assert_int_equal(sandbox_open(&s, kernel.abi, &e), 0);
    if (kernel.abi > 0) {
        assert_int_equal(sandbox_allow(&s, SANDBOX_READ, "absent", &e), ERR_IO);
        assert_non_null(strstr(e.text, "absent"));
    }
    sandbox_close(&s);
    assert_int_equal(sandbox_open(&s, 0, &e), 0); /* none: everything is allowed */
    assert_int_equal(s.fd, -1);
    assert_int_equal(sandbox_allow(&s, SANDBOX_READ, "absent", &e), 0);
    sandbox_close(&s);
    sandbox_kernel_release(&kernel);
}

/* In a child in which Landlock's first call fails with `number`. */
static int look_without(int number, const char *text)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)number),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return 77;
    struct sandbox_kernel kernel;
    struct err e = {0};
    return sandbox_look(&kernel, &e) == 0 && kernel.abi == 0 && strcmp(kernel.text, text) == 0 ? 0
                                                                                               : 1;
}

static void a_kernel_without_it_says_so(void **state)
{
    (void)state;
    static const struct {
        int number;
        const char *text;
    } cases[] = {{ENOSYS, "none: the kernel has no Landlock"},
                 {EOPNOTSUPP, "none: Landlock is switched off in the kernel"},
                 {EPERM, "none: Landlock: Operation not permitted"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(look_without(cases[i].number, cases[i].text));
        int status = wait_for(child);
        if (status == 77) {
            print_message("skipped: no seccomp here\n");
            skip();
        }
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_abi_refuses_what_it_can),
        cmocka_unit_test(each_abi_of_this_kernel),
        cmocka_unit_test(a_path_that_is_not_there_is_named),
        cmocka_unit_test(a_kernel_without_it_says_so),
    };
    return cmocka_run_group_tests_name("sandbox", tests, make_folder, remove_folder);
}
