#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/owed.h"
#include "pipeline/store/store.h"
#include "pipeline/store/sweep.h"
#include "tests/unit/scratch.h"

struct fixture {
    char folder[SCRATCH_BYTES];
    char *home;
};

static int setup(void **state)
{
    struct fixture *f = xalloc(sizeof *f);
    struct store *s = NULL;
    struct err e = {0};
    assert_int_equal(scratch_open(f->folder), 0);
    f->home = file_join(f->folder, ".fmforge");
    assert_int_equal(store_open(f->home, &s, &e), 0);
    store_close(s);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int rc = scratch_remove(f->folder);
    xfree(f->home);
    xfree(f);
    return rc;
}

/* Publishes an action with one file output, as a run does, and reads it; its key is the recipe's
 * id. */
static struct action make_action(struct store *s, const char *name)
{
    struct err e = {0};
    struct action a = {.stage = "train", .n_outputs = 1};
    char *path = NULL, *text = xasprintf("output of %s", name);
    assert_int_equal(store_put_bytes(s, name, strlen(name), &a.key, &e), 0);
    assert_int_equal(store_temporary(s, &path, &e), 0);
    assert_int_equal(file_write(path, text, strlen(text), &e), 0);
    snprintf(a.outputs[0].name, sizeof a.outputs[0].name, "checkpoint");
    snprintf(a.outputs[0].kind, sizeof a.outputs[0].kind, "adapter");
    assert_int_equal(store_put_path(s, path, &a.outputs[0].id, NULL, NULL, &e), 0);
    assert_int_equal(store_action_put(s, &a, &e), 0);
    xfree(path);
    assert_int_equal(store_raw(s, a.outputs[0].id.hex, false, &path, &e), 0);
    xfree(text);
    xfree(path);
    return a;
}

static struct action make_closed(const struct fixture *f, const char *name)
{
    struct store *s = NULL;
    struct err e = {0};
    assert_int_equal(store_open(f->home, &s, &e), 0);
    struct action a = make_action(s, name);
    store_close(s);
    return a;
}

static bool is_served(const struct fixture *f, const struct action *a)
{
    struct store *s = NULL;
    struct err e = {0};
    struct action found;
    bool there = false;
    assert_int_equal(store_open_read(f->home, &s, &e), 0);
    assert_int_equal(store_action_get(s, a->key.hex, &found, &there, &e), 0);
    store_close(s);
    return there;
}

/* Marks `needed` (may be NULL) as gc does, and removes the rest. */
static void sweep(const struct fixture *f, const struct action *needed, bool remove,
                  struct sweep_count counts[SWEEP_KINDS])
{
    struct sweep w;
    struct err e = {0};
    bool locked = false;
    assert_int_equal(sweep_open(&w, f->home, remove, &e), 0);
    w.since = w.work_since = INT64_MAX;
    if (remove)
        assert_int_equal(sweep_lock(&w, true, &locked, &e), 0);
    if (needed != NULL)
        id_set_add(&w.keys, needed->key.hex);
    assert_int_equal(sweep_held(&w, &e), 0);
    assert_int_equal(sweep_look(&w, &e), 0);
    for (size_t i = 0; i < w.keys.n_slots; i++) {
        char key[SHA256_HEX + 1];
        struct action a;
        bool found = false;
        if (!id_set_at(&w.keys, i, key))
            continue;
        assert_int_equal(sweep_action(&w, key, &a, &found, &e), 0);
        if (!found)
            continue;
        for (size_t k = 0; k < a.n_outputs; k++)
            assert_int_equal(sweep_need(&w, a.outputs[k].id.hex, a.outputs[k].is_folder, &e), 0);
    }
    assert_int_equal(sweep_run(&w, &e), 0);
    memcpy(counts, w.counts, sizeof w.counts);
    sweep_close(&w);
}

static void a_set_keeps_what_was_added(void **state)
{
    (void)state;
    struct id_set set = {0};
    char text[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(text, sizeof text, "%d", i);
        struct content_id id = sha256_of(text, strlen(text));
        assert_false(id_set_has(&set, id.hex));
        assert_true(id_set_add(&set, id.hex));
        assert_false(id_set_add(&set, id.hex));
        assert_true(id_set_has(&set, id.hex));
    }
    assert_int_equal(set.n_ids, 3000);
    struct id_set again = {0};
    char id[SHA256_HEX + 1];
    for (size_t i = 0; i < set.n_slots; i++)
        if (id_set_at(&set, i, id))
            assert_true(id_set_add(&again, id));
    assert_int_equal(again.n_ids, 3000);
    id_set_release(&again);
    id_set_release(&set);
    id_set_release(&set);
}

static void what_nobody_needs_goes(void **state)
{
    struct fixture *f = *state;
    struct sweep_count c[SWEEP_KINDS];
    struct action kept = make_closed(f, "kept"), old = make_closed(f, "old");
    sweep(f, &kept, false, c);
    assert_int_equal(c[SWEEP_ACTIONS].n_removed, 1);
    assert_int_equal(c[SWEEP_OBJECTS].n_removed, 2);
    assert_true(is_served(f, &old)); /* it was only counted */
    sweep(f, &kept, true, c);
    assert_int_equal(c[SWEEP_ACTIONS].n_removed, 1);
    assert_int_equal(c[SWEEP_ACTIONS].n_kept, 1);
    assert_int_equal(c[SWEEP_OBJECTS].n_removed, 2);
    assert_int_equal(c[SWEEP_RAW].n_removed, 1);
    assert_true(c[SWEEP_OBJECTS].removed_bytes > 0);
    assert_true(is_served(f, &kept));
    assert_false(is_served(f, &old));
    sweep(f, &kept, true, c);
    assert_int_equal(c[SWEEP_ACTIONS].n_removed + c[SWEEP_OBJECTS].n_removed, 0);
}

/* What an open store has asked for, made or stored stays; when it is closed it may go. */
static void what_an_open_store_has_stays(void **state)
{
    struct fixture *f = *state;
    struct sweep_count c[SWEEP_KINDS];
    struct action asked = make_closed(f, "asked"), other = make_closed(f, "other");
    struct store *s = NULL;
    struct err e = {0};
    struct action found;
    bool there = false;
    struct content_id loose;
    char *raw = NULL;
    assert_int_equal(store_open(f->home, &s, &e), 0);
    assert_int_equal(store_action_get(s, asked.key.hex, &found, &there, &e), 0);
    assert_true(there);
    struct action made = make_action(s, "made");
    assert_int_equal(store_put_bytes(s, "loose", 5, &loose, &e), 0);
    assert_int_equal(store_raw(s, loose.hex, false, &raw, &e), 0);
    sweep(f, NULL, true, c);
    assert_true(is_served(f, &asked));
    assert_true(is_served(f, &made));
    assert_false(is_served(f, &other));
    assert_true(store_has(s, loose.hex));
    assert_true(file_exists(raw));
    store_close(s);
    sweep(f, NULL, true, c);
    assert_false(is_served(f, &asked));
    assert_false(file_exists(raw));
    assert_int_equal(c[SWEEP_ACTIONS].n_kept + c[SWEEP_OBJECTS].n_kept + c[SWEEP_RAW].n_kept, 0);
    xfree(raw);
}

/* What was asked for before it was looked at stays; of a folder its files too. */
static void what_is_held_stays(void **state)
{
    struct fixture *f = *state;
    struct sweep_count c[SWEEP_KINDS];
    struct store *s = NULL;
    struct err e = {0};
    struct content_id file = sha256_of("text", 4), folder;
    char *path = file_join(f->folder, "some"), *in = file_join(path, "a");
    assert_int_equal(file_make_folder(path, &e), 0);
    assert_int_equal(file_write(in, "text", 4, &e), 0);
    assert_int_equal(store_open(f->home, &s, &e), 0);
    assert_int_equal(store_put_path(s, path, &folder, NULL, NULL, &e), 0);
    store_close(s);
    assert_int_equal(store_open(f->home, &s, &e), 0);
    assert_int_equal(store_hold(s, folder.hex, true, &e), 0);
    sweep(f, NULL, true, c);
    assert_true(store_has(s, folder.hex));
    assert_true(store_has(s, file.hex));
    store_close(s);
    sweep(f, NULL, true, c);
    assert_int_equal(c[SWEEP_OBJECTS].n_kept, 0);
    xfree(in);
    xfree(path);
}

/* A raw copy that a tool was given stays as long as the tool runs, though the store is closed. */
static void what_a_store_leaves_stays_over_an_execve(void **state)
{
    struct fixture *f = *state;
    struct sweep_count c[SWEEP_KINDS];
    struct action a = make_closed(f, "a");
    int ready[2], go[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid_t child = fork();
    if (child == 0) {
        struct store *s = NULL;
        struct err e = {0};
        char *raw = NULL;
        if (store_open(f->home, &s, &e) != 0 ||
            store_raw(s, a.outputs[0].id.hex, false, &raw, &e) != 0 || store_leave(s, &e) != 0)
            _exit(1);
        store_close(s);
        if (dup2(go[0], STDIN_FILENO) < 0 || dup2(ready[1], STDOUT_FILENO) < 0)
            _exit(1);
        execl("/bin/sh", "sh", "-c", "echo; exec head -c 1 >/dev/null", (char *)NULL);
        _exit(1);
    }
    int status = 0;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    sweep(f, NULL, true, c);
    assert_int_equal(c[SWEEP_RAW].n_kept, 1);
    assert_int_equal(c[SWEEP_TMP].n_kept, 1);
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    sweep(f, NULL, true, c);
    assert_int_equal(c[SWEEP_RAW].n_removed, 1);
    assert_int_equal(c[SWEEP_TMP].n_removed, 1);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(go[i]);
    }
}

struct waiting {
    int n_calls, n_max, *fd;
};

static bool count_wait(void *context)
{
    struct waiting *w = context;
    if (++w->n_calls == w->n_max && w->fd != NULL)
        assert_int_equal(flock(*w->fd, LOCK_UN), 0);
    return w->n_calls < w->n_max || w->fd != NULL;
}

/* While gc has the lock on_wait is called; it gives up, or the lock comes free. */
static void a_store_that_waits_does_not_sleep(void **state)
{
    struct fixture *f = *state;
    struct store *s = NULL;
    struct err e = {0}, gone = {0};
    struct content_id id;
    char *path = xasprintf("%s/locks/gc", f->home);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct waiting gives_up = {0, 3, NULL}, waits = {0, 3, &fd};
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(store_open(f->home, &s, &e), 0);
    store_on_wait(s, count_wait, NULL, &gives_up);
    assert_int_equal(store_put_bytes(s, "x", 1, &id, &gone), ERR_IO);
    assert_int_equal(gives_up.n_calls, 3);
    assert_non_null(strstr(gone.text, "locks/gc"));
    store_on_wait(s, count_wait, NULL, &waits);
    assert_int_equal(store_put_bytes(s, "x", 1, &id, &e), 0);
    assert_int_equal(waits.n_calls, 3);
    assert_true(store_has(s, id.hex));
    store_close(s);
    close(fd);
    xfree(path);
}

/* The list of a process that was killed counts no more, and its folder goes. */
static void what_a_killed_process_had_goes(void **state)
{
    struct fixture *f = *state;
    struct sweep_count c[SWEEP_KINDS];
    pid_t child = fork();
    if (child == 0) {
        struct store *s = NULL;
        struct err e = {0};
        struct content_id id;
        _exit(store_open(f->home, &s, &e) != 0 || store_put_bytes(s, "x", 1, &id, &e) != 0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    sweep(f, NULL, false, c);
    assert_int_equal(c[SWEEP_TMP].n_removed, 1);
    sweep(f, NULL, true, c);
    assert_int_equal(c[SWEEP_TMP].n_removed, 1);
    assert_int_equal(c[SWEEP_OBJECTS].n_removed, 1);
    sweep(f, NULL, true, c);
    assert_int_equal(c[SWEEP_TMP].n_removed + c[SWEEP_TMP].n_kept, 0);
}

/* A reader is waited for; a writer waits until gc has ended. */
static void readers_and_gc_exclude_each_other(void **state)
{
    struct fixture *f = *state;
    struct sweep w;
    struct store *s = NULL;
    struct err e = {0};
    bool locked = true;
    int go[2];
    assert_int_equal(pipe(go), 0);
    pid_t child = fork(); /* before the lock is taken: it would have a part in it */
    if (child == 0) {
        struct store *mine = NULL;
        struct err why = {0};
        struct content_id id;
        char c = 0;
        _exit(read(go[0], &c, 1) != 1 || store_open(f->home, &mine, &why) != 0 ||
              store_put_bytes(mine, "x", 1, &id, &why) != 0);
    }
    int status = 0;
    assert_int_equal(sweep_open(&w, f->home, true, &e), 0);
    assert_int_equal(sweep_lock(&w, false, &locked, &e), 0);
    assert_true(locked);
    assert_int_equal(write(go[1], "x", 1), 1);
    usleep(100 * 1000);
    assert_int_equal(waitpid(child, &status, WNOHANG), 0); /* it waits */
    sweep_close(&w);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(go[0]);
    close(go[1]);
    assert_int_equal(store_open_read(f->home, &s, &e), 0);
    assert_int_equal(sweep_open(&w, f->home, true, &e), 0);
    assert_int_equal(sweep_lock(&w, false, &locked, &e), 0);
    assert_false(locked);
    store_close(s);
    assert_int_equal(sweep_lock(&w, false, &locked, &e), 0);
    assert_true(locked);
    sweep_close(&w);
}

/* With nothing to make there is no list and nothing in tmp/: the lock itself keeps gc away. */
static void a_store_that_finds_everything_keeps_the_lock(void **state)
{
    struct fixture *f = *state;
    struct action a = make_closed(f, "a"), found;
    struct content_id none = sha256_of("none", 4);
    struct sweep w;
    struct store *s = NULL;
    struct file_list names = {0};
    struct err e = {0};
    bool there = false, locked = true;
    char *tmp = file_join(f->home, "tmp");
    assert_int_equal(store_open(f->home, &s, &e), 0);
    assert_int_equal(store_action_get(s, a.key.hex, &found, &there, &e), 0);
    assert_true(there);
    assert_int_equal(file_list_names(tmp, &names, &e), 0);
    assert_int_equal(names.n_paths, 0);
    assert_int_equal(sweep_open(&w, f->home, true, &e), 0);
    assert_int_equal(sweep_lock(&w, false, &locked, &e), 0);
    assert_false(locked);
    /* The first miss writes the list and lets go; what was found before is in it. */
    assert_int_equal(store_action_get(s, none.hex, &found, &there, &e), 0);
    assert_false(there);
    assert_int_equal(sweep_lock(&w, false, &locked, &e), 0);
    assert_true(locked);
    struct held held = {0};
    assert_int_equal(hold_read(f->home, &held, &e), 0);
    assert_true(id_set_has(&held.keys, a.key.hex));
    assert_true(id_set_has(&held.keys, none.hex));
    held_release(&held);
    sweep_close(&w);
    store_close(s);
    file_list_release(&names);
    xfree(tmp);
}

static void the_oldest_raw_copies_go_first(void **state)
{
    struct fixture *f = *state;
    struct action a = make_closed(f, "a"), b = make_closed(f, "b");
    char *raw[2];
    for (int i = 0; i < 2; i++) {
        const char *id = i == 0 ? a.outputs[0].id.hex : b.outputs[0].id.hex;
        raw[i] = xasprintf("%s/raw/%.2s/%s", f->home, id, id);
        struct timeval times[2] = {{1000 * (2 - i), 0}, {1000 * (2 - i), 0}};
        assert_int_equal(utimes(raw[i], times), 0); /* b is the older */
    }
    struct sweep w;
    struct err e = {0};
    bool locked = false;
    assert_int_equal(sweep_open(&w, f->home, false, &e), 0);
    w.since = 1; /* all actions are young: nothing goes but for the budget */
    assert_int_equal(sweep_look(&w, &e), 0);
    assert_int_equal(sweep_need(&w, a.outputs[0].id.hex, false, &e), 0);
    assert_int_equal(sweep_need(&w, b.outputs[0].id.hex, false, &e), 0);
    assert_int_equal(sweep_run(&w, &e), 0);
    uint64_t all_bytes = sweep_kept_bytes(&w);
    assert_int_equal(w.counts[SWEEP_RAW].n_kept, 2);
    sweep_close(&w);

    assert_int_equal(sweep_open(&w, f->home, true, &e), 0);
    assert_int_equal(sweep_lock(&w, true, &locked, &e), 0);
    w.since = 1;
    w.budget_bytes = all_bytes - 1;
    assert_int_equal(sweep_look(&w, &e), 0);
    assert_int_equal(sweep_need(&w, a.outputs[0].id.hex, false, &e), 0);
    assert_int_equal(sweep_need(&w, b.outputs[0].id.hex, false, &e), 0);
    assert_int_equal(sweep_run(&w, &e), 0);
    assert_int_equal(w.counts[SWEEP_RAW].n_removed, 1);
    assert_true(sweep_kept_bytes(&w) < all_bytes);
    sweep_close(&w);
    assert_true(file_exists(raw[0]));
    assert_false(file_exists(raw[1]));
    xfree(raw[0]);
    xfree(raw[1]);
}

static void a_strange_folder_is_refused(void **state)
{
    struct fixture *f = *state;
    struct sweep w;
    struct err missing = {0}, newer = {0};
    assert_int_equal(sweep_open(&w, f->folder, true, &missing), ERR_MISSING);
    sweep_close(&w);
    char *version = file_join(f->home, "version");
    struct err e = {0};
    assert_int_equal(file_write(version, "fmforge store 3\n", 16, &e), 0);
    assert_int_equal(sweep_open(&w, f->home, true, &newer), ERR_CONFIG);
    assert_non_null(strstr(newer.text, "fmforge store 3"));
    sweep_close(&w);
    xfree(version);
}

static void set_age(const char *path, int64_t seconds)
{
    int64_t t = (int64_t)time(NULL) - seconds;
    struct timeval times[2] = {{t, 0}, {t, 0}};
    assert_int_equal(utimes(path, times), 0);
}

/* A work folder whose newest file is so old; the path of the folder, caller xfrees. */
static char *make_work(const struct fixture *f, const char *key, int64_t seconds)
{
    struct err e = {0};
    char *works = file_join(f->home, "work");
    char *work = file_join(works, key);
    char *file = file_join(work, "train.ckpt");
    assert_int_equal(file_make_folder(work, &e), 0);
    assert_int_equal(file_write(file, "x", 1, &e), 0);
    set_age(file, seconds);
    set_age(work, seconds);
    xfree(file);
    xfree(works);
    return work;
}

/* An interrupted run leaves no commit: a later run does not make its checkpoints old. */
static void checkpoints_stay_until_they_are_published_or_old(void **state)
{
    struct fixture *f = *state;
    struct action a = make_closed(f, "published");
    char *unfinished = make_work(f, sha256_of("unfinished", 10).hex, 5000);
    char *old = make_work(f, sha256_of("old", 3).hex, 7000);
    char *published = make_work(f, a.key.hex, 0);
    struct sweep w;
    struct err e = {0};
    bool locked = false;
    assert_int_equal(sweep_open(&w, f->home, true, &e), 0);
    assert_int_equal(sweep_lock(&w, true, &locked, &e), 0);
    w.since = (int64_t)time(NULL) - 1000; /* a run that came later */
    w.work_since = (int64_t)time(NULL) - 6000;
    id_set_add(&w.keys, a.key.hex);
    assert_int_equal(sweep_run(&w, &e), 0);
    assert_true(file_is_folder(unfinished));
    assert_false(file_is_folder(old));
    assert_false(file_is_folder(published));
    sweep_close(&w);
    xfree(unfinished);
    xfree(old);
    xfree(published);
}

/* Another gc, or whoever looks, has a part in the lock; only a stage has it alone. */
static void a_shared_key_lock_is_not_a_stage(void **state)
{
    struct fixture *f = *state;
    struct sweep_count c[SWEEP_KINDS];
    struct content_id key = sha256_of("key", 3);
    char *work = make_work(f, key.hex, 0);
    char *path = xasprintf("%s/locks/%s", f->home, key.hex);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    sweep(f, NULL, true, c);
    assert_true(file_is_folder(work));
    assert_int_equal(flock(fd, LOCK_SH), 0);
    sweep(f, NULL, true, c);
    assert_false(file_is_folder(work));
    close(fd);
    xfree(path);
    xfree(work);
}

/* What cannot be read is not what is not there. */
static void what_cannot_be_read_stops_it(void **state)
{
    struct fixture *f = *state;
    struct action a = make_closed(f, "a"), found;
    struct sweep w;
    struct held held = {0};
    struct err e = {0}, action = {0}, lists = {0};
    bool there = false, alive = false;
    char *path = xasprintf("%s/actions/%.2s/%s", f->home, a.key.hex, a.key.hex);
    char *folder = xasprintf("%s/tmp/s-1-0", f->home);
    char *lock = file_join(folder, "lock");
    assert_int_equal(sweep_open(&w, f->home, false, &e), 0);
    assert_int_equal(sweep_action(&w, a.key.hex, &found, &there, &e), 0);
    assert_true(there);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(sweep_action(&w, a.key.hex, &found, &there, &e), 0);
    assert_false(there);
    assert_int_equal(symlink(path, path), 0); /* ELOOP, also for root */
    assert_int_equal(sweep_action(&w, a.key.hex, &found, &there, &action), ERR_IO);
    assert_non_null(strstr(action.text, a.key.hex));
    sweep_close(&w);
    assert_int_equal(file_make_folder(folder, &e), 0);
    assert_int_equal(hold_is_alive(folder, &alive, &e), 0);
    assert_false(alive);
    assert_int_equal(symlink(lock, lock), 0);
    assert_int_equal(hold_read(f->home, &held, &lists), ERR_IO);
    assert_non_null(strstr(lists.text, lock));
    held_release(&held);
    xfree(lock);
    xfree(folder);
    xfree(path);
}

/* One mark a thing; a mark of an earlier build stands for all, and what is too old for nothing. */
static void what_is_owed_is_read(void **state)
{
    struct fixture *f = *state;
    struct content_id a = sha256_of("a", 1), b = sha256_of("b", 1), c = sha256_of("c", 1);
    struct id_set keys = {0};
    struct err e = {0};
    int64_t now = (int64_t)time(NULL), since = now;
    char *old = xasprintf("%s/owed/p.%s", f->home, c.hex);
    char *earlier = xasprintf("%s/owed/p", f->home);
    assert_int_equal(owed_read(f->home, 0, &keys, &since, &e), 0);
    assert_int_equal(owed_add(f->home, "p", a.hex, false, &e), 0);
    assert_int_equal(owed_add(f->home, "q", b.hex, false, &e), 0);
    assert_int_equal(owed_add(f->home, "p", c.hex, false, &e), 0);
    set_age(old, 9000);
    assert_true(owed_has(f->home, "p", a.hex));
    assert_false(owed_has(f->home, "p", b.hex));
    assert_false(owed_has(f->home, "p", NULL));
    assert_int_equal(owed_read(f->home, now - 8000, &keys, &since, &e), 0);
    assert_true(id_set_has(&keys, a.hex) && id_set_has(&keys, b.hex));
    assert_false(id_set_has(&keys, c.hex));
    assert_int_equal(since, now);
    assert_int_equal(owed_settle(f->home, "p", a.hex, &e), 0);
    assert_false(owed_has(f->home, "p", a.hex));
    assert_true(owed_has(f->home, "p", c.hex));
    assert_int_equal(file_write(earlier, "", 0, &e), 0);
    set_age(earlier, 5000);
    assert_true(owed_has(f->home, "p", NULL));
    assert_int_equal(owed_read(f->home, now - 8000, &keys, &since, &e), 0);
    assert_true(since <= now - 4999 && since >= now - 5010);
    id_set_release(&keys);
    xfree(earlier);
    xfree(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_keeps_what_was_added),
        cmocka_unit_test_setup_teardown(what_nobody_needs_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_an_open_store_has_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_held_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_store_leaves_stays_over_an_execve, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_that_waits_does_not_sleep, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_killed_process_had_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(readers_and_gc_exclude_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_that_finds_everything_keeps_the_lock, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(checkpoints_stay_until_they_are_published_or_old, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_shared_key_lock_is_not_a_stage, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_stops_it, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_owed_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(the_oldest_raw_copies_go_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_strange_folder_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
