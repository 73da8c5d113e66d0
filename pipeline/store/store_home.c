/* The folder of a store: whose it is, made, opened, closed. */

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/store/hold.h"
#include "pipeline/store/store_state.h"
#include "pipeline/store/unsynced.h"
#include "pipeline/store/version.h"

/* Whoever owns the folder can put results into it that were never made. */
static int check_owner(const char *home, struct err *e)
{
    struct stat st;
    if (stat(home, &st) != 0)
        return err_set_errno(e, errno, "%s: cannot read its owner", home);
    if (st.st_uid == geteuid())
        return 0;
    return err_set(
        e, ERR_CONFIG,
        "%s belongs to user %ld, this is user %ld: run as its owner, change its owner, or "
        "use another --home",
        home, (long)st.st_uid, (long)geteuid());
}

/* Only an empty folder, or one where making the version file was cut short, becomes a store. */
static int check_fresh(const char *home, struct err *e)
{
    DIR *dir = opendir(home);
    if (dir == NULL)
        return err_set_errno(e, errno, "%s: cannot open", home);
    int rc = 0;
    struct dirent *entry = NULL;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (!str_eq(name, ".") && !str_eq(name, "..") && !str_starts(name, "version"))
            rc = err_set(e, ERR_CONFIG,
                         "%s: not an fmforge store: it has no file \"version\" but holds %s; if it "
                         "is the rest of one that was removed, remove it, too (rm -r %s), else use "
                         "another --home",
                         home, name, home);
    }
    closedir(dir);
    return rc;
}

/* A store on another disk is often a link to it. */
static int make_home(const char *home, struct err *e)
{
    struct stat st;
    if (lstat(home, &st) == 0 && S_ISLNK(st.st_mode) && !file_exists(home)) {
        char to[LIMIT_PATH_BYTES] = "";
        (void)!readlink(home, to, sizeof to - 1);
        return err_set(e, ERR_CONFIG,
                       "%s: a symbolic link to %s, which is not there: mount or make that folder, "
                       "or use another --home",
                       home, to);
    }
    return file_make_folder(home, e);
}

static int make_store(const char *home, struct err *e)
{
    char *version = file_join(home, "version");
    int rc = 0;
    if (!file_exists(version)) {
        rc = make_home(home, e);
        struct err strange = {0};
        if (rc == 0 && check_fresh(home, &strange) == 0)
            rc = file_publish(version, STORE_VERSION_TEXT, strlen(STORE_VERSION_TEXT), 0644, e);
        else if (rc == 0 && !file_exists(version)) /* else another process has made it just now */
            rc = err_set(e, strange.code, "%s", strange.text);
    }
    xfree(version);
    return rc;
}

static int make_one(const char *home, const char *name, struct err *e)
{
    char *path = file_join(home, name);
    int rc = 0;
    if (mkdir(path, 0755) != 0 && (errno != EEXIST || !file_is_folder(path)))
        rc = err_set_errno(e, errno, "%s: cannot make the folder", path);
    xfree(path);
    return rc;
}

static int make_folders(const char *home, struct err *e)
{
    static const char *const names[] = {"objects", "raw", "actions", "work",
                                        "logs",    "tmp", "locks"};
    int rc = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && rc == 0; i++)
        rc = make_one(home, names[i], e);
    return rc;
}

int store_check_there(const char *home, struct err *e)
{
    char *version = file_join(home, "version");
    bool there = file_exists(version);
    xfree(version);
    return there ? 0 : err_set(e, ERR_IO, "%s: the store was removed while it was in use", home);
}

int store_make_folder(const struct store *s, const char *name, struct err *e)
{
    int rc = store_check_there(s->home, e);
    return rc == 0 ? make_one(s->home, name, e) : rc;
}

static struct store *new_store(const char *home, bool read_only)
{
    struct store *s = xalloc(sizeof *s);
    s->home = xstrdup(home);
    size_t n = strlen(s->home);
    while (n > 1 && s->home[n - 1] == '/')
        s->home[--n] = '\0';
    objects_open(&s->objects, s->home, read_only);
    return s;
}

int store_open(const char *home, struct store **out, struct err *e)
{
    struct store *s = new_store(home, false);
    int rc = make_store(s->home, e);
    if (rc == 0)
        rc = check_owner(s->home, e);
    if (rc == 0)
        rc = version_check(s->home, e);
    if (rc == 0)
        rc = make_folders(s->home, e);
    if (rc == 0)
        rc = unsynced_mend(&s->objects, e);
    if (rc != 0) {
        store_close(s);
        return err_wrap(e, "store");
    }
    *out = s;
    return 0;
}

int store_check_home(const char *home, struct err *e)
{
    char *version = file_join(home, "version");
    bool there = file_exists(version);
    xfree(version);
    if (!there)
        return err_set(e, ERR_MISSING, "%s: there is no fmforge store here", home);
    int rc = check_owner(home, e);
    return rc == 0 ? version_check(home, e) : rc;
}

int store_open_read(const char *home, struct store **out, struct err *e)
{
    int rc = store_check_home(home, e);
    if (rc == 0) {
        *out = new_store(home, true);
        hold_reader(&(*out)->objects);
    }
    return rc;
}

int store_open_present(const char *home, struct store **out, struct err *e)
{
    struct err cause = {0};
    int rc = store_open_read(home, out, &cause);
    if (rc != ERR_MISSING)
        return rc < 0 ? err_set(e, cause.code, "%s", cause.text) : 0;
    *out = NULL;
    return 0;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    objects_close(&s->objects);
    memo_close(s->memo);
    xfree(s->home);
    xfree(s);
}

int store_leave(struct store *s, struct err *e)
{
    return hold_leave(&s->objects, e);
}

const char *store_home(const struct store *s)
{
    return s->home;
}

char *store_path(const struct store *s, const char *relative)
{
    return file_join(s->home, relative);
}

const char *store_notes(const struct store *s)
{
    return buf_text(&s->objects.notes);
}

void store_on_wait(struct store *s, bool (*on_wait)(void *context), bool (*on_work)(void *context),
                   void *context)
{
    s->objects.on_wait = on_wait;
    s->objects.on_work = on_work;
    s->objects.wait_context = context;
}

int store_tidy(struct store *s, struct err *e)
{
    return objects_tidy(&s->objects, e);
}

int store_temporary(struct store *s, char **path, struct err *e)
{
    return objects_temporary(&s->objects, path, e);
}
