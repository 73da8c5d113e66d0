#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/sha256.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/provenance/ledger_client.h"
#include "pipeline/provenance/runs.h"
#include "tests/unit/scratch.h"

#define REF "refs/prov/tickets"

struct fixture {
    char folder[SCRATCH_BYTES];
    char *repo;
    char *tree;
    char *helper;
    const char *ref;
    struct ledger ledger; /* of helper and repo */
};

/* bin/fmforge-ledger beside the folder of this test; NULL when it is not built. */
static char *find_helper(void)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    char *path = xasprintf("%s/../bin/fmforge-ledger", self);
    if (access(path, X_OK) == 0)
        return path;
    xfree(path);
    return NULL;
}

static int setup(void **state)
{
    struct fixture *f = xalloc(sizeof *f);
    assert_int_equal(scratch_open(f->folder), 0);
    f->repo = file_join(f->folder, "ledger.git");
    f->tree = file_join(f->folder, "tree");
    f->helper = find_helper();
    f->ref = REF;
    f->ledger = (struct ledger){f->helper, f->repo};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int rc = scratch_remove(f->folder);
    xfree(f->repo);
    xfree(f->tree);
    xfree(f->helper);
    xfree(f);
    return rc;
}

#define NEED_HELPER(f)                                               \
    do {                                                             \
        if ((f)->helper == NULL) {                                   \
            print_message("skipped: fmforge-ledger is not built\n"); \
            skip();                                                  \
        }                                                            \
    } while (0)

static void put(const struct fixture *f, const char *name, const char *text)
{
    scratch_put(f->tree, name, text);
}

/* What lies in the fixture's tree, on its ref. */
static int record(const struct fixture *f, const char *repo, const char *message, int64_t time,
                  char commit[COMMIT_HEX + 1], struct err *e)
{
    struct run_files files = {NULL, 0};
    struct file_list list = {0};
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    assert_int_equal(file_list_folder(f->tree, &list, e), 0);
    for (size_t i = 0; i < list.n_paths; i++) {
        char *path = file_join(f->tree, list.paths[i]);
        assert_int_equal(file_read(path, BUF_MAX_DEFAULT - 1, &b, e), 0);
        run_files_add(&files, list.paths[i], b.bytes, b.n_bytes);
        xfree(path);
    }
    const struct ledger_entry entry = {f->ref, &files, message, time, NULL};
    const struct ledger l = {f->helper, repo};
    int rc = ledger_commit(&l, &entry, commit, e);
    buf_release(&b);
    file_list_release(&list);
    run_files_release(&files);
    return rc;
}

/* A run whose one artifact is the given text; its commit. */
static void commit_run(const struct fixture *f, const char *artifact, int64_t time,
                       char commit[COMMIT_HEX + 1])
{
    struct err e = {0};
    struct content_id id = sha256_of(artifact, strlen(artifact)), unused;
    struct buf sums;
    char *line = xasprintf("%s  adapter/checkpoint\n%s  out/a.fmadapter/w.bin\n", id.hex, id.hex);
    char *run = xasprintf("{\"schema\":1,\"name\":\"tickets\",\"time\":%lld,\"stages\":[{\"stage\":"
                          "\"adapter\",\"outputs\":[{\"name\":\"checkpoint\",\"id\":\"%s\"}]}]}",
                          (long long)time, id.hex);
    assert_int_equal(file_remove_tree(f->tree, &e), 0);
    put(f, "run.json", run);
    put(f, "artifacts.sha256", line);
    put(f, "stages/adapter[rank=8]/recipe.json", "{}");
    buf_init(&sums, BUF_MAX_DEFAULT);
    assert_int_equal(sha256_folder(f->tree, &sums, &unused, &e), 0);
    put(f, "SHA256SUMS", buf_text(&sums));
    int rc = record(f, f->repo, "tickets: ok\n", time, commit, &e);
    if (rc != 0)
        print_message("%s\n", e.text);
    assert_int_equal(rc, 0);
    buf_release(&sums);
    xfree(run);
    xfree(line);
}

static void runs_come_back(void **state)
{
    struct fixture *f = *state;
    NEED_HELPER(f);
    struct err e = {0};
    struct json *v = NULL;
    char first[COMMIT_HEX + 1], second[COMMIT_HEX + 1];
    assert_int_equal(ledger_log(&f->ledger, NULL, 0, &v, &e), 0); /* no repository yet */
    assert_int_equal(json_count(json_get(v, "commits")), 0);
    json_free(v);
    commit_run(f, "one", 1700000000, first);
    commit_run(f, "two", 1700000001, second);
    assert_int_equal(ledger_log(&f->ledger, REF, 0, &v, &e), 0);
    assert_int_equal(json_count(json_get(v, "commits")), 2);
    const struct json *newest = json_first(json_get(v, "commits"));
    assert_string_equal(json_find_text(newest, "commit"), second);
    assert_string_equal(json_find_text(newest, "parent"), first);
    assert_string_equal(json_find_text(newest, "message"), "tickets: ok");
    json_free(v);

    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    char prefix[9];
    snprintf(prefix, sizeof prefix, "%.8s", first);
    assert_int_equal(ledger_cat(&f->ledger, prefix, "stages/adapter[rank=8]/recipe.json", &b, &e),
                     0);
    assert_string_equal(buf_text(&b), "{}");
    assert_int_equal(ledger_cat(&f->ledger, prefix, "nope", &b, &e), ERR_MISSING);
    buf_release(&b);

    struct content_id one = sha256_of("one", 3), none = sha256_of("none", 4);
    struct err e2 = {0};
    assert_int_equal(ledger_find_digest(&f->ledger, one.hex, &v, &e2), 0);
    assert_string_equal(json_find_text(v, "commit"), first);
    assert_string_equal(json_find_text(v, "where"), "artifact");
    json_free(v);
    assert_int_equal(ledger_find_path(&f->ledger, "out/a.fmadapter/w.bin", &v, &e2), 0);
    assert_string_equal(json_find_text(v, "commit"), second);
    json_free(v);
    assert_int_equal(ledger_find_digest(&f->ledger, none.hex, &v, &e2), 0);
    assert_null(json_find_text(v, "commit"));
    json_free(v);
}

static void runs_are_counted_from_the_last(void **state)
{
    struct fixture *f = *state;
    NEED_HELPER(f);
    struct ledger l = {f->helper, f->repo};
    struct run_record r;
    char first[COMMIT_HEX + 1], second[COMMIT_HEX + 1];
    commit_run(f, "one", 1700000000, first);
    commit_run(f, "two", 1700000001, second);
    const char *const ids[] = {"last", "last~0", "last~1"};
    const char *const want[] = {second, second, first};
    for (size_t i = 0; i < 3; i++) {
        struct err e = {0};
        assert_int_equal(run_record_find(&l, ids[i], "tickets", &r, &e), 0);
        assert_string_equal(r.commit, want[i]);
        run_record_release(&r);
    }
    struct err far = {0}, other = {0};
    assert_int_equal(run_record_find(&l, "last~2", NULL, &r, &far), ERR_MISSING);
    assert_non_null(strstr(far.text, "last~2: there are 2 runs only"));
    assert_int_equal(run_record_find(&l, "last", "mails", &r, &other), ERR_MISSING);
    static const char *const wrong[] = {"last~", "last~-1", "last~01", "last~x", "lasting"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct err e = {0};
        assert_int_equal(run_record_find(&l, wrong[i], NULL, &r, &e), ERR_CONFIG);
        run_record_release(&r);
    }
}

/* A clock that was a year ahead, and one that was set back: within a ref the chain says what came
 * after what; between refs the time does. */
static void the_chain_is_older_than_the_clock(void **state)
{
    struct fixture *f = *state;
    NEED_HELPER(f);
    struct err e = {0};
    struct json *list = NULL;
    char want[5][41];
    commit_run(f, "one", 1700000000, want[4]);
    commit_run(f, "ahead", 1731536000, want[2]);
    commit_run(f, "two", 1700000020, want[1]);
    f->ref = "refs/prov/other";
    commit_run(f, "other", 1700000010, want[3]);
    commit_run(f, "newest", 1700000030, want[0]);
    char *runs_log = file_join(f->folder, "runs.log");
    const char *lines = "{\"name\":\"tickets\",\"started\":\"2024-11-13T22:13:20.000Z\","
                        "\"status\":\"ok\"}\n"
                        "{\"name\":\"tickets\",\"started\":\"2023-11-14T22:14:00.000Z\","
                        "\"status\":\"gates\"}\n";
    assert_int_equal(file_write(runs_log, lines, strlen(lines), &e), 0);
    struct ledger l = {f->helper, f->repo};
    assert_int_equal(runs_list(&l, NULL, NULL, &list, &e), 0);
    const struct json *run = json_first(list);
    for (size_t i = 0; i < 5; i++, run = json_next(run))
        assert_string_equal(json_find_text(run, "commit"), want[i]);
    json_free(list);
    assert_int_equal(runs_list(&l, runs_log, NULL, &list, &e), 0);
    assert_string_equal(json_find_text(json_first(list), "status"), "gates");
    assert_string_equal(json_find_text(json_next(json_first(list)), "status"), "ok");
    assert_int_equal(json_count(list), 7);
    json_free(list);
    struct run_record r = {0};
    assert_int_equal(run_record_find(&l, "last", "tickets", &r, &e), 0);
    assert_string_equal(r.commit, want[1]);
    run_record_release(&r);
    xfree(runs_log);
}

/* Of a runs.log that has grown for years the newest lines are listed. */
static void a_long_list_is_read_from_its_end(void **state)
{
    struct fixture *f = *state;
    NEED_HELPER(f);
    struct err e = {0};
    struct json *list = NULL;
    char *runs_log = file_join(f->folder, "runs.log");
    const char *old =
        "{\"name\":\"a\",\"started\":\"2023-11-14T22:14:00.000Z\",\"status\":\"ok\"}\n";
    const char *new =
        "\n{\"name\":\"b\",\"started\":\"2023-11-14T22:14:00.000Z\",\"status\":\"ok\"}\n";
    FILE *file = fopen(runs_log, "w");
    assert_non_null(file);
    fputs(old, file);
    fseek(file, LIMIT_JSON_BYTES, SEEK_SET); /* a hole */
    fputs(new, file);
    assert_int_equal(fclose(file), 0);
    struct ledger l = {f->helper, f->repo};
    assert_int_equal(runs_list(&l, runs_log, NULL, &list, &e), 0);
    assert_int_equal(json_count(list), 1);
    assert_string_equal(json_find_text(json_first(list), "name"), "b");
    json_free(list);
    xfree(runs_log);
}

static void a_run_is_checked_by_its_sums(void **state)
{
    struct fixture *f = *state;
    NEED_HELPER(f);
    struct err e = {0};
    struct ledger l = {f->helper, f->repo};
    struct run_record r;
    char commit[COMMIT_HEX + 1];
    commit_run(f, "one", 1700000000, commit);
    assert_int_equal(run_record_load(&l, commit, &r, &e), 0);
    assert_string_equal(r.name, "tickets");
    struct json *damage = json_new_array();
    assert_int_equal(run_record_check(&r, damage), 3);
    assert_int_equal(json_count(damage), 0);
    struct content_id one = sha256_of("one", 3);
    assert_non_null(run_record_producer(&r, one.hex, NULL, NULL));
    run_record_release(&r);
    /* A file that SHA256SUMS does not know, and one that it knows otherwise. */
    put(f, "extra.txt", "x");
    put(f, "artifacts.sha256", "");
    assert_int_equal(record(f, f->repo, "x", 1700000002, commit, &e), 0);
    assert_int_equal(run_record_load(&l, commit, &r, &e), 0);
    run_record_check(&r, damage);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    json_write_canonical(damage, &b);
    assert_non_null(strstr(buf_text(&b), "extra.txt"));
    assert_non_null(strstr(buf_text(&b), "artifacts.sha256"));
    buf_release(&b);
    json_free(damage);
    run_record_release(&r);
}

/* How many lines of damage a check gives; an error counts as one, and has to be a message. */
static size_t count_damage(const struct fixture *f, const char *must_name)
{
    struct err e = {0};
    struct json *v = NULL;
    size_t n = 1;
    bool named = must_name == NULL;
    if (ledger_check(&f->ledger, &v, &e) == 0) {
        const struct json *damage = json_get(v, "damage");
        n = json_count(damage);
        for (const struct json *d = json_first(damage); d != NULL; d = json_next(d))
            named = named || strstr(json_string(d), must_name) != NULL;
    } else {
        named = named || strstr(e.text, must_name) != NULL;
        assert_null(strstr(e.text, "was ended by signal"));
    }
    if (n > 0)
        assert_true(named);
    json_free(v);
    return n;
}

/* Every file of the repository whose bytes matter: flipped here and there, and cut. */
static void damage_is_found_and_named(void **state)
{
    struct fixture *f = *state;
    NEED_HELPER(f);
    struct err e = {0};
    struct file_list files;
    char commit[COMMIT_HEX + 1];
    commit_run(f, "one", 1700000000, commit);
    assert_int_equal(count_damage(f, NULL), 0);
    assert_int_equal(file_list_folder(f->repo, &files, &e), 0);
    struct buf b;
    buf_init(&b, BUF_MAX_DEFAULT);
    for (size_t i = 0; i < files.n_paths; i++) {
        const char *name = files.paths[i];
        if (!str_starts(name, "objects/") && !str_starts(name, "refs/"))
            continue;
        char *path = file_join(f->repo, name);
        assert_int_equal(file_read(path, 100000, &b, &e), 0);
        assert_int_equal(chmod(path, 0644), 0);
        for (size_t k = 0; k < 6; k++) {
            size_t at = k < 5 ? k * (b.n_bytes - 1) / 4 : b.n_bytes / 3;
            b.bytes[at] ^= (char)(1 << (k + i) % 8);
            assert_int_equal(file_write(path, b.bytes, b.n_bytes, &e), 0);
            assert_true(count_damage(f, file_base_name(name)) > 0);
            b.bytes[at] ^= (char)(1 << (k + i) % 8);
        }
        assert_int_equal(file_write(path, b.bytes, b.n_bytes / 2, &e), 0);
        assert_true(count_damage(f, file_base_name(name)) > 0);
        assert_int_equal(file_write(path, b.bytes, b.n_bytes, &e), 0);
        xfree(path);
    }
    assert_int_equal(count_damage(f, NULL), 0);
    buf_release(&b);
    file_list_release(&files);
}

static void a_missing_object_is_named(void **state)
{
    struct fixture *f = *state;
    NEED_HELPER(f);
    struct err e = {0};
    struct json *v = NULL;
    char commit[COMMIT_HEX + 1];
    commit_run(f, "one", 1700000000, commit);
    assert_int_equal(ledger_show(&f->ledger, commit, &v, &e), 0);
    const char *blob = json_find_text(json_first(json_get(v, "files")), "blob");
    char *path = xasprintf("%s/objects/%.2s/%s", f->repo, blob, blob + 2);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(count_damage(f, blob), 1);
    json_free(v);
    xfree(path);
}

/* The next run that writes the same bytes repairs them. */
static void a_damaged_object_is_written_again(void **state)
{
    struct fixture *f = *state;
    NEED_HELPER(f);
    struct err e = {0};
    struct json *v = NULL;
    char commit[COMMIT_HEX + 1];
    commit_run(f, "one", 1700000000, commit);
    assert_int_equal(ledger_show(&f->ledger, commit, &v, &e), 0);
    const char *blob = json_find_text(json_first(json_get(v, "files")), "blob");
    char *path = xasprintf("%s/objects/%.2s/%s", f->repo, blob, blob + 2);
    assert_int_equal(chmod(path, 0644) | truncate(path, 9), 0);
    assert_true(count_damage(f, blob) > 0);
    commit_run(f, "one", 1700000000, commit);
    assert_int_equal(count_damage(f, NULL), 0);
    json_free(v);
    xfree(path);
}

static void locks_of_the_dead_do_not_stop_us(void **state)
{
    struct fixture *f = *state;
    NEED_HELPER(f);
    char first[COMMIT_HEX + 1], second[COMMIT_HEX + 1];
    struct err e = {0};
    commit_run(f, "one", 1700000000, first);
    char *lock = file_join(f->repo, REF ".lock");
    assert_int_equal(file_write(lock, "", 0, &e), 0);
    commit_run(f, "two", 1700000001, second);
    assert_false(file_exists(lock));
    /* A repository whose making was cut short is made again. */
    char *other = file_join(f->folder, "other.git");
    char *part = file_join(f->folder, "other.git.new/objects");
    assert_int_equal(file_make_folder(part, &e), 0);
    assert_int_equal(record(f, other, "x", 1, first, &e), 0);
    xfree(part);
    xfree(other);
    xfree(lock);
}

static void writers_at_once_lose_nothing(void **state)
{
    struct fixture *f = *state;
    NEED_HELPER(f);
    char commit[COMMIT_HEX + 1];
    struct err e = {0};
    pid_t children[4];
    commit_run(f, "one", 1700000000, commit);
    for (int i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] != 0)
            continue;
        int rc = 0;
        for (int k = 0; k < 3 && rc == 0; k++)
            rc = record(f, f->repo, "x", 1700000001 + k, commit, &e);
        _exit(rc == 0 ? 0 : 1);
    }
    for (int i = 0; i < 4; i++) {
        int status = 1;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    struct json *v = NULL;
    assert_int_equal(ledger_log(&f->ledger, REF, 0, &v, &e), 0);
    assert_int_equal(json_count(json_get(v, "commits")), 13);
    json_free(v);
    assert_int_equal(count_damage(f, NULL), 0);
}

static void wrong_calls_say_why(void **state)
{
    struct fixture *f = *state;
    NEED_HELPER(f);
    char commit[COMMIT_HEX + 1];
    struct json *v = NULL;
    struct err bad_path = {0}, bad_ref = {0}, no_repo = {0}, short_id = {0}, no_helper = {0};
    struct run_files upwards = {NULL, 0}, good = {NULL, 0};
    run_files_add(&upwards, "stages/../run.json", "{}", 2);
    run_files_add(&good, "run.json", "{}", 2);
    const struct ledger_entry above = {REF, &upwards, "x", 1, NULL};
    const struct ledger_entry head = {"refs/heads/x", &good, "x", 1, NULL};
    const struct ledger nowhere = {f->helper, "/nope"};
    const struct ledger without = {"/nope/fmforge-ledger", f->repo};
    assert_int_equal(ledger_commit(&f->ledger, &above, commit, &bad_path), ERR_FORMAT);
    assert_non_null(strstr(bad_path.text, "byte 0"));
    assert_int_equal(ledger_commit(&f->ledger, &head, commit, &bad_ref), ERR_CONFIG);
    run_files_release(&upwards);
    run_files_release(&good);
    assert_int_equal(ledger_show(&nowhere, "123456", &v, &no_repo), ERR_MISSING);
    assert_int_equal(ledger_show(&f->ledger, "12", &v, &short_id), ERR_CONFIG);
    assert_int_equal(ledger_check(&without, &v, &no_helper), ERR_MISSING);
    assert_non_null(strstr(no_helper.text, "fmforge-ledger"));
}

static void source_never_fails(void **state)
{
    struct fixture *f = *state;
    NEED_HELPER(f);
    struct err e = {0};
    struct json *v = NULL;
    assert_int_equal(ledger_source(f->helper, f->folder, &v, &e), 0);
    assert_non_null(strstr(json_find_text(v, "unavailable"), "no git repository"));
    json_free(v);
    /* A repository without commit, and one with an extension that the library does not know. */
    char *git = file_join(f->folder, ".git");
    char *head = file_join(git, "HEAD");
    char *config = file_join(git, "config");
    char *objects = file_join(git, "objects");
    char *refs = file_join(git, "refs");
    assert_int_equal(file_make_folder(objects, &e) | file_make_folder(refs, &e), 0);
    assert_int_equal(file_write(head, "ref: refs/heads/main\n", 21, &e), 0);
    assert_int_equal(ledger_source(f->helper, f->folder, &v, &e), 0);
    assert_non_null(strstr(json_find_text(v, "unavailable"), "no commit"));
    json_free(v);
    const char *text = "[core]\nrepositoryformatversion = 1\n[extensions]\nsomething = true\n";
    assert_int_equal(file_write(config, text, strlen(text), &e), 0);
    assert_int_equal(ledger_source(f->helper, f->folder, &v, &e), 0);
    assert_non_null(json_find_text(v, "unavailable"));
    json_free(v);
    xfree(refs);
    xfree(objects);
    xfree(config);
    xfree(head);
    xfree(git);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(runs_are_counted_from_the_last, setup, teardown),
        cmocka_unit_test_setup_teardown(the_chain_is_older_than_the_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_list_is_read_from_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_run_is_checked_by_its_sums, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_found_and_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_object_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_object_is_written_again, setup, teardown),
        cmocka_unit_test_setup_teardown(locks_of_the_dead_do_not_stop_us, setup, teardown),
        cmocka_unit_test_setup_teardown(writers_at_once_lose_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_calls_say_why, setup, teardown),
        cmocka_unit_test_setup_teardown(source_never_fails, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
