#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/object.h"
#include "pipeline/store/store.h"
#include "tests/unit/scratch.h"

#define EMPTY_ID "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct fixture {
    char folder[SCRATCH_BYTES];
    char *home;
    struct store *s;
};

static int setup(void **state)
{
    struct fixture *f = xalloc(sizeof *f);
    assert_int_equal(scratch_open(f->folder), 0);
    f->home = file_join(f->folder, ".fmforge");
    struct err e = {0};
    assert_int_equal(store_open(f->home, &f->s, &e), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->s);
    int rc = scratch_remove(f->folder);
    xfree(f->home);
    xfree(f);
    return rc;
}

static char *write_in(const struct fixture *f, const char *name, const char *text)
{
    struct err e = {0};
    char *path = file_join(f->folder, name);
    assert_int_equal(file_make_parents(path, &e), 0);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    return path;
}

static char *object_file(const struct fixture *f, const char *id, const char *kind,
                         const char *suffix)
{
    return xasprintf("%s/%s/%.2s/%s%s", f->home, kind, id, id, suffix);
}

/* Changes one byte in the middle, whatever the mode of the file. */
static void flip_byte(const char *path, long at)
{
    assert_int_equal(chmod(path, 0644), 0);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, at, at < 0 ? SEEK_END : SEEK_SET);
    int c = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(c ^ 1, file);
    fclose(file);
    assert_int_equal(chmod(path, 0444), 0);
}

static void open_again(struct fixture *f)
{
    struct err e = {0};
    store_close(f->s);
    assert_int_equal(store_open(f->home, &f->s, &e), 0);
}

static void bytes_come_back(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct content_id id;
    assert_int_equal(store_put_bytes(f->s, "hello", 5, &id, &e), 0);
    assert_string_equal(id.hex, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_int_equal(store_put_bytes(f->s, "hello", 5, &id, &e), 0); /* twice is fine */
    assert_true(store_has(f->s, id.hex));
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    open_again(f);
    assert_int_equal(store_get_bytes(f->s, id.hex, 100, &b, &e), 0);
    assert_string_equal(buf_text(&b), "hello");
    assert_int_equal(store_get_bytes(f->s, id.hex, 4, &b, &e), ERR_LIMIT);
    assert_true(store_has(f->s, id.hex)); /* a limit is no damage */
    struct err missing = {0};
    assert_int_equal(store_get_bytes(f->s, EMPTY_ID, 4, &b, &missing), ERR_MISSING);
    assert_non_null(strstr(missing.text, EMPTY_ID));
    char *path = object_file(f, id.hex, "objects", ".zst");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
    xfree(path);
    buf_release(&b);
}

static void file_and_folder_come_back(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    char *one = write_in(f, "in/b.txt", "second");
    char *two = write_in(f, "in/a/deep.txt", "first");
    char *folder = file_join(f->folder, "in");
    struct content_id id, again, source;
    bool is_folder = false;
    uint64_t n_bytes = 0;
    assert_int_equal(store_put_path(f->s, folder, &id, &is_folder, &n_bytes, &e), 0);
    assert_true(is_folder);
    assert_int_equal(n_bytes, 11);
    assert_int_equal(store_hash_source(f->s, folder, &source, &is_folder, &n_bytes, &e), 0);
    assert_string_equal(source.hex, id.hex);

    char *raw = NULL;
    assert_int_equal(store_raw(f->s, id.hex, true, &raw, &e), 0);
    assert_int_equal(sha256_path(raw, &again, NULL, &e), 0);
    assert_string_equal(again.hex, id.hex);
    /* Raw copies may go: they are made again from the objects. */
    assert_int_equal(file_remove_tree(raw, &e), 0);
    xfree(raw);
    assert_int_equal(store_raw(f->s, id.hex, true, &raw, &e), 0);
    assert_int_equal(sha256_path(raw, &again, NULL, &e), 0);
    assert_string_equal(again.hex, id.hex);

    char *out = file_join(f->folder, "out");
    assert_int_equal(store_copy_out(f->s, id.hex, true, out, &e), 0);
    char *stale = write_in(f, "out/stale.txt", "x");
    assert_int_equal(store_copy_out(f->s, id.hex, true, out, &e), 0); /* replaces */
    assert_int_equal(sha256_path(out, &again, NULL, &e), 0);
    assert_string_equal(again.hex, id.hex);
    assert_false(file_exists(stale));
    /* Killed after the exchange: the delivery is whole, and what it replaced is beside it. */
    char *part = write_in(f, ".out.fmforge-part/old.txt", "x");
    assert_int_equal(store_copy_out(f->s, id.hex, true, out, &e), 0);
    assert_false(file_exists(part));
    xfree(part);
    struct file_list left;
    assert_int_equal(file_list_folder(f->folder, &left, &e), 0);
    for (size_t i = 0; i < left.n_paths; i++)
        assert_null(strstr(left.paths[i], "fmforge-part"));
    file_list_release(&left);
    xfree(stale);
    xfree(out);
    xfree(raw);
    xfree(folder);
    xfree(one);
    xfree(two);
}

static void empty_file_and_empty_folder_live_together(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    char *file = write_in(f, "empty", "");
    char *folder = file_join(f->folder, "none");
    assert_int_equal(file_make_folder(folder, &e), 0);
    struct content_id a, b;
    bool is_folder = true;
    assert_int_equal(store_put_path(f->s, file, &a, &is_folder, NULL, &e), 0);
    assert_false(is_folder);
    assert_int_equal(store_put_path(f->s, folder, &b, &is_folder, NULL, &e), 0);
    assert_true(is_folder);
    assert_string_equal(a.hex, EMPTY_ID);
    assert_string_equal(b.hex, EMPTY_ID);
    char *raw_file = NULL, *raw_folder = NULL;
    assert_int_equal(store_raw(f->s, a.hex, false, &raw_file, &e), 0);
    assert_int_equal(store_raw(f->s, b.hex, true, &raw_folder, &e), 0);
    assert_false(file_is_folder(raw_file));
    assert_true(file_is_folder(raw_folder));
    xfree(raw_file);
    xfree(raw_folder);
    xfree(file);
    xfree(folder);
}

static struct action put_action(struct fixture *f, const char *text)
{
    struct err e = {0};
    struct action a = {0};
    char *path = write_in(f, "result", text);
    a.key = sha256_of("recipe", 6);
    snprintf(a.stage, sizeof a.stage, "train");
    snprintf(a.outputs[0].name, sizeof a.outputs[0].name, "checkpoint");
    snprintf(a.outputs[0].kind, sizeof a.outputs[0].kind, "adapter");
    a.n_outputs = 1;
    assert_int_equal(store_put_path(f->s, path, &a.outputs[0].id, &a.outputs[0].is_folder,
                                    &a.outputs[0].n_bytes, &e),
                     0);
    assert_int_equal(store_put_bytes(f->s, "{}", 2, &a.statement, &e), 0);
    assert_int_equal(store_action_put(f->s, &a, &e), 0);
    xfree(path);
    return a;
}

static bool action_found(struct fixture *f, const struct action *a)
{
    struct err e = {0};
    struct action got;
    bool found = false;
    assert_int_equal(store_action_get(f->s, a->key.hex, &got, &found, &e), 0);
    return found;
}

static void actions_are_served_only_when_whole(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct action a = put_action(f, "adapter bytes");
    struct action got;
    bool found = false;
    assert_int_equal(store_action_get(f->s, a.key.hex, &got, &found, &e), 0);
    assert_true(found);
    assert_string_equal(got.stage, "train");
    assert_string_equal(got.outputs[0].id.hex, a.outputs[0].id.hex);
    assert_int_equal(got.outputs[0].n_bytes, 13);
    assert_string_equal(got.statement.hex, a.statement.hex);
    struct action other = {.key = sha256_of("other", 5)};
    assert_false(action_found(f, &other));

    char *record = object_file(f, a.key.hex, "actions", "");
    flip_byte(record, 20);
    assert_false(action_found(f, &a));
    assert_non_null(strstr(store_notes(f->s), a.key.hex));
    assert_non_null(strstr(store_notes(f->s), "quarantine"));
    assert_false(file_exists(record));
    assert_int_equal(store_action_put(f->s, &a, &e), 0); /* made again */
    assert_true(action_found(f, &a));
    chmod(record, 0644);
    assert_int_equal(truncate(record, 40), 0);
    assert_false(action_found(f, &a));
    xfree(record);
}

static void damaged_objects_are_named_and_made_again(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 2; round++) {
        struct err e = {0};
        struct action a = put_action(f, "adapter bytes");
        const char *id = a.outputs[0].id.hex;
        char *path = object_file(f, id, "objects", ".zst");
        if (round == 0)
            flip_byte(path, 15);
        else
            assert_int_equal(chmod(path, 0644) | truncate(path, 12), 0);
        struct buf b;
        buf_init(&b, BUF_MAX_DEFAULT);
        assert_int_equal(store_get_bytes(f->s, id, 1000, &b, &e), ERR_FORMAT);
        assert_non_null(strstr(e.text, id));
        assert_non_null(strstr(e.text, "damaged"));
        assert_false(store_has(f->s, id));
        assert_false(action_found(f, &a));
        put_action(f, "adapter bytes");
        struct err none = {0};
        assert_int_equal(store_get_bytes(f->s, id, 1000, &b, &none), 0);
        assert_true(action_found(f, &a));
        buf_release(&b);
        xfree(path);
    }
}

/* Also bits that the decoder does not look at. */
static void every_flipped_bit_is_found(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct content_id id;
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    assert_int_equal(store_put_bytes(f->s, "some text, some text", 20, &id, &e), 0);
    assert_int_equal(store_check_object(f->s, id.hex, NULL, &e), 0);
    char *path = object_file(f, id.hex, "objects", ".zst");
    assert_int_equal(file_read(path, 10000, &b, &e), 0);
    struct store *reader = NULL;
    assert_int_equal(store_open_read(f->home, &reader, &e), 0);
    for (size_t i = 0; i < b.n_bytes * 8; i++) {
        struct err damage = {0};
        b.bytes[i / 8] ^= (char)(1 << i % 8);
        assert_int_equal(chmod(path, 0644), 0);
        assert_int_equal(file_write(path, b.bytes, b.n_bytes, &e), 0);
        assert_int_equal(store_check_object(reader, id.hex, NULL, &damage), ERR_FORMAT);
        assert_non_null(strstr(damage.text, id.hex));
        b.bytes[i / 8] ^= (char)(1 << i % 8);
    }
    store_close(reader);
    buf_release(&b);
    xfree(path);
}

static void damaged_raw_copies_are_made_again(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct action a = put_action(f, "adapter bytes");
    char *raw = NULL;
    assert_int_equal(store_raw(f->s, a.outputs[0].id.hex, false, &raw, &e), 0);
    flip_byte(raw, 3);
    xfree(raw);
    assert_int_equal(store_raw(f->s, a.outputs[0].id.hex, false, &raw, &e), 0);
    struct content_id id;
    assert_int_equal(sha256_path(raw, &id, NULL, &e), 0);
    assert_string_equal(id.hex, a.outputs[0].id.hex);
    assert_non_null(strstr(store_notes(f->s), "raw copy"));
    xfree(raw);
}

static void read_only_store_moves_nothing(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct action a = put_action(f, "adapter bytes");
    char *path = object_file(f, a.outputs[0].id.hex, "objects", ".zst");
    flip_byte(path, 15);
    struct store *reader = NULL;
    assert_int_equal(store_open_read(f->home, &reader, &e), 0);
    struct err damage = {0};
    assert_int_equal(store_check_object(reader, a.outputs[0].id.hex, NULL, &damage), ERR_FORMAT);
    assert_true(file_exists(path));
    store_close(reader);
    assert_int_equal(store_open_read(f->folder, &reader, &e), ERR_MISSING);
    xfree(path);
}

static void leftovers_of_a_killed_process_are_removed(void **state)
{
    struct fixture *f = *state;
    pid_t child = fork();
    if (child == 0) {
        struct store *s = NULL;
        struct err e = {0};
        char *path = NULL;
        if (store_open(f->home, &s, &e) != 0 || store_temporary(s, &path, &e) != 0 ||
            file_write(path, "half", 4, &e) != 0)
            _exit(1);
        _exit(0); /* as after kill -9: nothing is cleaned */
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    struct err e = {0};
    char *tmp = store_path(f->s, "tmp");
    struct file_list files;
    assert_int_equal(file_list_folder(tmp, &files, &e), 0);
    assert_int_equal(files.n_paths, 2); /* its lock and its half file */
    file_list_release(&files);
    struct content_id id;
    assert_int_equal(store_put_bytes(f->s, "x", 1, &id, &e), 0);
    assert_int_equal(file_list_folder(tmp, &files, &e), 0);
    assert_int_equal(files.n_paths, 2); /* our own lock, and the list of what we hold */
    file_list_release(&files);
    open_again(f);
    assert_int_equal(file_list_folder(tmp, &files, &e), 0);
    assert_int_equal(files.n_paths, 0);
    file_list_release(&files);
    xfree(tmp);
}

static void versions_and_strange_folders_are_refused(void **state)
{
    struct fixture *f = *state;
    char *version = file_join(f->home, "version");
    struct err e = {0};
    struct store *s = NULL;
    assert_int_equal(file_write(version, "fmforge store 3\n", 16, &e), 0);
    assert_int_equal(store_open(f->home, &s, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "fmforge store 3"));
    struct err damaged = {0}, strange = {0}, ok = {0};
    assert_int_equal(file_write(version, "fm", 2, &damaged), 0);
    assert_int_equal(store_open(f->home, &s, &damaged), ERR_CONFIG);
    char *other = write_in(f, "mine/thesis.txt", "precious");
    char *mine = file_join(f->folder, "mine");
    assert_int_equal(store_open(mine, &s, &strange), ERR_CONFIG);
    assert_non_null(strstr(strange.text, "not an fmforge store"));
    /* A store whose making was cut short is completed. */
    char *half = write_in(f, "half/version.tmp-AbCdEf", "fm");
    char *half_home = file_join(f->folder, "half");
    assert_int_equal(store_open(half_home, &s, &ok), 0);
    store_close(s);
    assert_int_equal(file_write(version, "fmforge store 2\n", 16, &ok), 0);
    xfree(half_home);
    xfree(half);
    xfree(mine);
    xfree(other);
    xfree(version);
}

static void unwritable_folder_is_named(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(chmod(f->folder, 0755), 0);
    pid_t child = fork();
    if (child == 0) {
        struct store *s = NULL;
        struct err e = {0}, e2 = {0};
        struct content_id id;
        if (geteuid() == 0 && (chown(f->home, 65534, 65534) != 0 || setuid(65534) != 0))
            _exit(77);
        if (chmod(f->home, 0555) != 0)
            _exit(77);
        char *locks = file_join(f->home, "locks");
        (void)!chmod(locks, 0555);
        int rc = store_open(f->home, &s, &e);
        bool good = rc == 0 && store_put_bytes(s, "x", 1, &id, &e) == ERR_IO &&
                    strstr(e.text, f->home) != NULL && strstr(e.text, "Permission denied") != NULL;
        store_close(s);
        char *fresh = file_join(f->home, "deeper");
        good = good && store_open(fresh, &s, &e2) == ERR_IO && strstr(e2.text, "deeper") != NULL;
        _exit(good ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(chmod(f->home, 0755), 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("skipped: no unwritable folder can be made here\n");
        skip();
    }
    assert_int_equal(status, 0);
}

/* A write that fails half way (a file size limit acts as a full disk does): a clear message with
 * the path, and the store is as before. */
static void full_disk_is_named(void **state)
{
    struct fixture *f = *state;
    char *big = file_join(f->folder, "big");
    size_t n = 1 << 20;
    unsigned char *noise = xalloc(n);
    uint64_t x = 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        noise[i] = (unsigned char)(x >> 56);
    }
    struct err e = {0};
    assert_int_equal(file_write(big, noise, n, &e), 0);
    struct content_id id;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit limit = {1 << 16, 1 << 16};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        struct store *s = NULL;
        int rc = store_open(f->home, &s, &e);
        bool good = rc == 0 && store_put_path(s, big, &id, NULL, NULL, &e) == ERR_IO &&
                    strstr(e.text, "big") != NULL && strstr(e.text, "File too large") != NULL;
        store_close(s);
        _exit(good ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    struct content_id want = sha256_of(noise, n);
    assert_false(store_has(f->s, want.hex));
    assert_int_equal(store_put_path(f->s, big, &id, NULL, NULL, &e), 0);
    assert_string_equal(id.hex, want.hex);
    xfree(noise);
    xfree(big);
}

static void locks_are_released_with_the_process(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct store *s = NULL;
        int fd = -1;
        if (store_open(f->home, &s, &e) != 0 || store_lock(s, EMPTY_ID, &fd, &e) != 0)
            _exit(1);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        usleep(50000);
        _exit(0);
    }
    char c = 0;
    assert_int_equal(read(ready[0], &c, 1), 1);
    int fd = -1;
    assert_int_equal(store_lock(f->s, EMPTY_ID, &fd, &e), 0); /* waits for the child's end */
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    store_unlock(fd);
    close(ready[0]);
    close(ready[1]);
}

static void a_store_of_somebody_else_is_refused(void **state)
{
    struct fixture *f = *state;
    struct store *s = NULL;
    struct err e = {0}, e2 = {0};
    if (geteuid() != 0 || chown(f->home, 65534, 65534) != 0) {
        print_message("skipped: only root can give a folder away\n");
        skip();
    }
    assert_int_equal(store_open(f->home, &s, &e), ERR_CONFIG);
    assert_non_null(strstr(e.text, "belongs to user 65534, this is user 0"));
    assert_non_null(strstr(e.text, f->home));
    assert_int_equal(store_open_read(f->home, &s, &e2), ERR_CONFIG);
    assert_int_equal(chown(f->home, 0, 0), 0);
}

static void symlinks_are_refused(void **state)
{
    struct fixture *f = *state;
    struct err e = {0}, e2 = {0}, e3 = {0};
    char *link_path = file_join(f->folder, "in/link");
    char *one = write_in(f, "in/a", "x");
    char *folder = file_join(f->folder, "in");
    assert_int_equal(symlink("/etc/passwd", link_path), 0);
    struct content_id id;
    assert_int_equal(store_put_path(f->s, folder, &id, NULL, NULL, &e), ERR_FORMAT);
    assert_non_null(strstr(e.text, "in/link"));
    assert_int_equal(store_hash_source(f->s, link_path, &id, NULL, NULL, &e2), ERR_FORMAT);
    assert_int_equal(store_put_path(f->s, link_path, &id, NULL, NULL, &e3), ERR_FORMAT);
    assert_non_null(strstr(e3.text, "in/link: a symbolic link is not stored"));
    xfree(folder);
    xfree(one);
    xfree(link_path);
}

/* Numbers that are split into planes, in a file of the store's own temporary folder or elsewhere.
 */
static char *write_weights(struct fixture *f, bool as_output, struct content_id *id)
{
    struct err e = {0};
    char *path = file_join(f->folder, "weights");
    size_t n = 700001;
    unsigned char *bytes = xalloc(n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)(i % 2 == 0 ? i * 2654435761u >> 13 : 0x3c + i % 64 / 63);
    if (as_output) {
        xfree(path);
        assert_int_equal(store_temporary(f->s, &path, &e), 0);
    }
    assert_int_equal(file_write(path, bytes, n, &e), 0);
    *id = sha256_of(bytes, n);
    xfree(bytes);
    return path;
}

static void weights_become_planes(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct content_id want, id, found;
    char *path = write_weights(f, false, &want);
    assert_int_equal(store_put_path(f->s, path, &id, NULL, NULL, &e), 0);
    assert_string_equal(id.hex, want.hex);
    char *planes = object_file(f, id.hex, "objects", ".planes");
    char *plain = object_file(f, id.hex, "objects", ".zst");
    assert_true(file_exists(planes) && !file_exists(plain));
    assert_true(store_has(f->s, id.hex));
    struct stat st, before;
    assert_int_equal(stat(planes, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0444);
    assert_int_equal(store_check_object(f->s, id.hex, NULL, &e), 0);

    /* The source stays another file; the raw copy comes back from the object. */
    char *raw = NULL;
    assert_int_equal(store_raw(f->s, id.hex, false, &raw, &e), 0);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(stat(raw, &st), 0);
    assert_true(before.st_ino != st.st_ino && st.st_nlink == 1);
    assert_int_equal(st.st_mode & 0777, 0444);
    assert_int_equal(unlink(raw), 0);
    xfree(raw);
    assert_int_equal(store_raw(f->s, id.hex, false, &raw, &e), 0);
    assert_int_equal(sha256_path(raw, &found, NULL, &e), 0);
    assert_string_equal(found.hex, id.hex);

    /* Damage is seen, named and repaired by the next one who has the bytes. */
    flip_byte(planes, 3000);
    struct err damage = {0};
    assert_int_equal(store_check_object(f->s, id.hex, NULL, &damage), ERR_FORMAT);
    assert_non_null(strstr(damage.text, id.hex));
    assert_non_null(strstr(store_notes(f->s), "moved to"));
    assert_false(store_has(f->s, id.hex));
    assert_int_equal(store_put_path(f->s, path, &id, NULL, NULL, &e), 0);
    assert_int_equal(store_check_object(f->s, id.hex, NULL, &e), 0);
    xfree(raw);
    xfree(plain);
    xfree(planes);
    xfree(path);
}

/* A stage's output is not copied: it becomes the raw copy, and nobody may write to it. */
static void outputs_are_linked(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct content_id want, id;
    struct stat before, after;
    char *path = write_weights(f, true, &want);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(store_put_path(f->s, path, &id, NULL, NULL, &e), 0);
    assert_string_equal(id.hex, want.hex);
    char *raw = object_file(f, id.hex, "raw", "");
    assert_int_equal(stat(raw, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(after.st_mode & 0777, 0444);

    /* Who makes it once more leaves the file that a stage may be reading. */
    xfree(path);
    path = write_weights(f, true, &want);
    assert_int_equal(unlink(raw), 0);
    char *mine = file_join(f->folder, "mine"), *yours = file_join(f->folder, "yours");
    assert_int_equal(file_write_read_only(mine, "same", 4, &e), 0);
    assert_int_equal(file_write_read_only(yours, "same", 4, &e), 0);
    struct objects o;
    objects_open(&o, f->home, false);
    assert_int_equal(objects_publish_raw(&o, mine, raw, false, &e), 0);
    assert_int_equal(stat(raw, &before), 0);
    assert_int_equal(objects_publish_raw(&o, yours, raw, false, &e), 0);
    assert_int_equal(stat(raw, &after), 0);
    assert_true(before.st_ino == after.st_ino && after.st_nlink == 1);
    assert_int_equal(after.st_mode & 0777, 0444);
    assert_false(file_exists(mine) || file_exists(yours));
    objects_close(&o);
    xfree(yours);
    xfree(mine);
    xfree(path);

    /* Of a folder each file; what has another name already is copied. */
    assert_int_equal(store_temporary(f->s, &path, &e), 0);
    char *one = file_join(path, "a/one"), *two = file_join(path, "two");
    char *other = file_join(f->folder, "other");
    assert_int_equal(file_make_parents(one, &e), 0);
    assert_int_equal(file_write(one, "one", 3, &e), 0);
    char *large = xalloc(OBJECT_SMALL_BYTES);
    assert_int_equal(file_write(other, large, OBJECT_SMALL_BYTES, &e), 0);
    xfree(large);
    assert_int_equal(link(other, two), 0);
    assert_int_equal(store_put_path(f->s, path, &id, NULL, NULL, &e), 0);
    for (int i = 0; i < 2; i++) {
        char *copy = object_file(f, id.hex, "raw", i == 0 ? ".d/a/one" : ".d/two");
        assert_int_equal(stat(i == 0 ? one : two, &before), 0);
        assert_int_equal(stat(copy, &after), 0);
        assert_int_equal(before.st_ino == after.st_ino, i == 0);
        assert_int_equal(after.st_mode & 0777, 0444);
        xfree(copy);
    }
    xfree(other);
    xfree(two);
    xfree(one);
    xfree(raw);
    xfree(path);
}

/* What is small has no raw copy before a stage reads it, and is not written once more. */
static void small_outputs_are_packed_once(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct content_id first, again, folder;
    struct stat before, after;
    char *path = file_join(f->folder, "out"), *in = file_join(path, "a/one"), *read = NULL;
    assert_int_equal(file_make_parents(in, &e), 0);
    assert_int_equal(file_write(in, "one", 3, &e), 0);
    assert_int_equal(store_put_path(f->s, in, &first, NULL, NULL, &e), 0);
    char *object = object_file(f, first.hex, "objects", ".zst");
    char *raw = object_file(f, first.hex, "raw", "");
    assert_int_equal(stat(object, &before), 0);
    assert_int_equal(before.st_mode & 0777, 0444);
    assert_false(file_exists(raw));
    uint64_t n_bytes = 0;
    bool is_folder = false;
    assert_int_equal(store_put_path(f->s, in, &again, NULL, &n_bytes, &e), 0);
    assert_string_equal(again.hex, first.hex);
    assert_int_equal(n_bytes, 3);
    assert_int_equal(store_put_path(f->s, path, &folder, &is_folder, &n_bytes, &e), 0);
    assert_true(is_folder && n_bytes == 3);
    assert_int_equal(stat(object, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(store_raw(f->s, first.hex, false, &read, &e), 0);
    assert_string_equal(read, raw);
    assert_int_equal(stat(raw, &after), 0);
    assert_int_equal(after.st_mode & 0777, 0444);
    xfree(read);
    assert_int_equal(store_raw(f->s, folder.hex, true, &read, &e), 0);
    assert_true(store_is_at(f->s, folder.hex, true, read));

    /* A damaged one is made again. */
    flip_byte(object, 8);
    assert_int_equal(store_put_path(f->s, in, &again, NULL, NULL, &e), 0);
    assert_int_equal(store_check_object(f->s, first.hex, NULL, &e), 0);
    xfree(read);
    xfree(raw);
    xfree(object);
    xfree(in);
    xfree(path);
}

static void expect_version(const struct fixture *f, const char *text)
{
    struct err e = {0};
    struct buf b;
    buf_init(&b, 4096);
    char *path = file_join(f->home, "version");
    assert_int_equal(file_read(path, 100, &b, &e), 0);
    assert_string_equal(buf_text(&b), text);
    buf_release(&b);
    xfree(path);
}

/* A store of version 1 works on; planes make it one of version 2. An object is there in one form.
 */
static void old_stores_are_read(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct content_id want, id;
    char *version = file_join(f->home, "version");
    char *path = write_weights(f, false, &want);
    char *plain = object_file(f, want.hex, "objects", ".zst");
    char *planes = object_file(f, want.hex, "objects", ".planes");
    struct buf b;
    buf_init(&b, (size_t)1 << 20);
    assert_int_equal(file_read(path, 1 << 20, &b, &e), 0);
    assert_int_equal(store_put_bytes(f->s, b.bytes, b.n_bytes, &id, &e), 0); /* as version 1 */
    assert_int_equal(file_write(version, "fmforge store 1\n", 16, &e), 0);
    open_again(f);
    assert_int_equal(store_put_bytes(f->s, "text", 4, &id, &e), 0);
    assert_int_equal(store_check_object(f->s, want.hex, NULL, &e), 0);
    expect_version(f, "fmforge store 1\n");

    assert_int_equal(store_put_path(f->s, path, &id, NULL, NULL, &e), 0);
    expect_version(f, "fmforge store 1\n");
    assert_true(file_exists(plain) && !file_exists(planes));
    flip_byte(plain, 300);
    assert_int_equal(store_put_path(f->s, path, &id, NULL, NULL, &e), 0);
    expect_version(f, "fmforge store 2\n");
    assert_true(!file_exists(plain) && file_exists(planes));
    assert_int_equal(store_put_bytes(f->s, b.bytes, b.n_bytes, &id, &e), 0);
    assert_true(!file_exists(plain) && file_exists(planes));
    open_again(f);
    assert_int_equal(store_check_object(f->s, want.hex, NULL, &e), 0);
    buf_release(&b);
    xfree(planes);
    xfree(plain);
    xfree(path);
    xfree(version);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(file_and_folder_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_file_and_empty_folder_live_together, setup, teardown),
        cmocka_unit_test_setup_teardown(actions_are_served_only_when_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_objects_are_named_and_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(every_flipped_bit_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_raw_copies_are_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(weights_become_planes, setup, teardown),
        cmocka_unit_test_setup_teardown(outputs_are_linked, setup, teardown),
        cmocka_unit_test_setup_teardown(small_outputs_are_packed_once, setup, teardown),
        cmocka_unit_test_setup_teardown(old_stores_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(read_only_store_moves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(leftovers_of_a_killed_process_are_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(versions_and_strange_folders_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(unwritable_folder_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(full_disk_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(locks_are_released_with_the_process, setup, teardown),
        cmocka_unit_test_setup_teardown(symlinks_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_of_somebody_else_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
