#include "pipeline/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pipeline/base/check.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"

char *file_join(const char *dir, const char *name)
{
    size_t n = strlen(dir);
    if (n == 0)
        return xstrdup(name);
    return xasprintf(dir[n - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

const char *file_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

static int open_for_reading(const char *path, int *fd, struct stat *st, struct err *e)
{
    /* O_NONBLOCK: a FIFO in the place of a file must not hang us. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return err_set(e, ERR_MISSING, "%s: no such file", path);
        return err_set_errno(e, errno, "%s: cannot open", path);
    }
    if (fstat(*fd, st) != 0 || !S_ISREG(st->st_mode)) {
        close(*fd);
        return err_set(e, ERR_FORMAT, "%s: not a regular file", path);
    }
    return 0;
}

int file_read(const char *path, uint64_t max_bytes, struct buf *out, struct err *e)
{
    int fd = -1;
    struct stat st;
    int rc = open_for_reading(path, &fd, &st, e);
    if (rc != 0)
        return rc;
    buf_clear(out);
    char block[1 << 16];
    ssize_t n = 0;
    while ((n = read(fd, block, sizeof block)) != 0) {
        if (n < 0) {
            rc = err_set_errno(e, errno, "%s: cannot read", path);
            break;
        }
        if (out->n_bytes + (size_t)n > max_bytes || !buf_fits(out, (size_t)n)) {
            rc = err_set(e, ERR_LIMIT, "%s: larger than the limit of %llu bytes", path,
                         (unsigned long long)max_bytes);
            break;
        }
        buf_add(out, block, (size_t)n);
    }
    close(fd);
    return rc;
}

static int write_all(int fd, const void *bytes, size_t n_bytes)
{
    const char *p = bytes;
    while (n_bytes > 0) {
        ssize_t n = write(fd, p, n_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        p += n;
        n_bytes -= (size_t)n;
    }
    return 0;
}

/* Writes, fsyncs if `sync` and closes fd. */
static int fill_and_close(int fd, const char *path, const void *bytes, size_t n_bytes, bool sync,
                          struct err *e)
{
    int problem = write_all(fd, bytes, n_bytes);
    if (problem == 0 && sync && fsync(fd) != 0)
        problem = errno;
    if (close(fd) != 0 && problem == 0)
        problem = errno;
    return problem == 0 ? 0 : err_set_errno(e, problem, "%s: cannot write", path);
}

int file_write_read_only(const char *path, const void *bytes, size_t n_bytes, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (fd < 0)
        return err_set_errno(e, errno, "%s: cannot create", path);
    return fill_and_close(fd, path, bytes, n_bytes, false, e);
}

void file_fill_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
            return; /* without /dev/null nothing better can be done */
}

int file_lock(int fd)
{
    int rc;
    do
        rc = flock(fd, LOCK_EX);
    while (rc != 0 && errno == EINTR);
    return rc;
}

int file_sync_folder(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(e, errno, "%s: cannot open", path);
    int problem = fsync(fd) != 0 ? errno : 0;
    close(fd);
    /* Some file systems cannot sync folders: then there is nothing to lose order with. */
    if (problem != 0 && problem != EINVAL && problem != ENOTSUP)
        return err_set_errno(e, problem, "%s: cannot sync", path);
    return 0;
}

static int publish(const char *path, const void *bytes, size_t n_bytes, unsigned mode, bool sync,
                   struct err *e)
{
    char *temporary = xasprintf("%s.tmp-XXXXXX", path);
    char *parent = parent_of(path);
    int rc = 0;
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        rc = err_set_errno(e, errno, "%s: cannot make a file beside it", path);
        goto out;
    }
    rc = fill_and_close(fd, temporary, bytes, n_bytes, sync, e);
    if (rc == 0 && chmod(temporary, (mode_t)mode) != 0)
        rc = err_set_errno(e, errno, "%s: cannot set its mode", temporary);
    if (rc == 0 && rename(temporary, path) != 0)
        rc = err_set_errno(e, errno, "%s: cannot rename to it", path);
    if (rc != 0)
        unlink(temporary);
    else if (sync)
        rc = file_sync_folder(parent, e);
out:
    xfree(parent);
    xfree(temporary);
    return rc;
}

int file_publish(const char *path, const void *bytes, size_t n_bytes, unsigned mode, struct err *e)
{
    return publish(path, bytes, n_bytes, mode, true, e);
}

int file_replace(const char *path, const void *bytes, size_t n_bytes, unsigned mode, struct err *e)
{
    return publish(path, bytes, n_bytes, mode, false, e);
}

int file_write(const char *path, const void *bytes, size_t n_bytes, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_set_errno(e, errno, "%s: cannot create", path);
    return fill_and_close(fd, path, bytes, n_bytes, false, e);
}

int file_append_line(const char *path, const char *line, bool sync, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_set_errno(e, errno, "%s: cannot open for appending", path);
    char *text = xasprintf("%s\n", line);
    int rc = fill_and_close(fd, path, text, strlen(text), sync, e);
    xfree(text);
    return rc;
}

int file_out_open(struct file_out *f, const char *path, struct err *e)
{
    *f = (struct file_out){0};
    f->stream = fopen(path, "wbe");
    if (f->stream == NULL)
        return err_set_errno(e, errno, "%s: cannot create", path);
    f->path = xstrdup(path);
    return 0;
}

void file_out_add(struct file_out *f, const void *bytes, size_t n_bytes)
{
    if (f->problem != 0)
        return;
    if (n_bytes > 0 && fwrite(bytes, 1, n_bytes, f->stream) != n_bytes)
        f->problem = errno != 0 ? errno : EIO;
    f->n_bytes += n_bytes;
}

void file_start_writing(int fd)
{
#ifdef SYNC_FILE_RANGE_WRITE
    (void)!sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* an error shows at fsync */
#else
    (void)fd;
#endif
}

void file_out_start(const struct file_out *f)
{
    if (f->problem == 0)
        file_start_writing(fileno(f->stream));
}

static int close_out(struct file_out *f, bool sync, struct err *e)
{
    CHECK(f->stream != NULL);
    int problem = f->problem;
    if (fflush(f->stream) != 0 && problem == 0)
        problem = errno;
    if (problem == 0 && sync && fsync(fileno(f->stream)) != 0)
        problem = errno;
    if (fclose(f->stream) != 0 && problem == 0)
        problem = errno;
    f->stream = NULL;
    int rc = problem == 0 ? 0 : err_set_errno(e, problem, "%s: cannot write", f->path);
    xfree(f->path);
    *f = (struct file_out){0};
    return rc;
}

int file_out_close(struct file_out *f, struct err *e)
{
    return close_out(f, false, e);
}

int file_out_close_synced(struct file_out *f, struct err *e)
{
    return close_out(f, true, e);
}

void file_out_abandon(struct file_out *f)
{
    if (f->stream == NULL)
        return;
    fclose(f->stream);
    unlink(f->path);
    xfree(f->path);
    *f = (struct file_out){0};
}

int file_map_open(struct file_map *m, const char *path, struct err *e)
{
    *m = (struct file_map){0};
    int fd = -1;
    struct stat st;
    int rc = open_for_reading(path, &fd, &st, e);
    if (rc != 0)
        return rc;
    if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            rc = err_set_errno(e, errno, "%s: cannot map", path);
        else
            *m = (struct file_map){.bytes = p, .n_bytes = (size_t)st.st_size};
    }
    close(fd);
    return rc;
}

void file_map_close(struct file_map *m)
{
    if (m->bytes != NULL)
        munmap((void *)(uintptr_t)m->bytes, m->n_bytes);
    *m = (struct file_map){0};
}

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

bool file_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool file_is_ours(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_uid == geteuid();
}

int file_size(const char *path, uint64_t *n_bytes, struct err *e)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return err_set_errno(e, errno, "%s: cannot read its size", path);
    *n_bytes = (uint64_t)st.st_size;
    return 0;
}

int file_make_folder(const char *path, struct err *e)
{
    if (mkdir(path, 0755) == 0 || (errno == EEXIST && file_is_folder(path)))
        return 0; /* the way from the top is for what is missing, and to name what is in it */
    char *copy = xstrdup(path);
    int rc = 0;
    for (char *p = copy + 1; rc == 0; p++) {
        if (*p != '/' && *p != 0)
            continue;
        bool last = *p == 0;
        *p = 0;
        if (mkdir(copy, 0755) != 0 && (errno != EEXIST || !file_is_folder(copy)))
            rc = err_set_errno(e, errno == EEXIST ? ENOTDIR : errno, "%s: cannot make the folder",
                               copy);
        if (last)
            break;
        *p = '/';
    }
    xfree(copy);
    return rc;
}

int file_make_parents(const char *path, struct err *e)
{
    char *parent = parent_of(path);
    int rc = file_make_folder(parent, e);
    xfree(parent);
    return rc;
}

char *file_real_path(const char *path)
{
    char real[PATH_MAX];
    if (realpath(path, real))
        return xstrdup(real);
    char *above = xstrdup(path);
    for (size_t n = strlen(above); n > 1 && above[n - 1] == '/'; n--)
        above[n - 1] = '\0';
    char *slash = strrchr(above, '/');
    char *name = xstrdup(slash ? slash + 1 : above);
    if (slash)
        slash[slash == above] = '\0';
    char *real_above =
        str_eq(name, ".") || *name == '\0' ? xstrdup(above) : file_real_path(slash ? above : ".");
    char *joined = file_join(real_above, name);
    xfree(real_above);
    xfree(name);
    xfree(above);
    return joined;
}

int file_can_make(const char *path, struct err *e)
{
    struct stat st;
    char *at = parent_of(path); /* "." and "/" are there */
    while (stat(at, &st) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
        char *parent = parent_of(at);
        xfree(at);
        at = parent;
    }
    int rc = 0;
    if (access(at, F_OK) == 0 && !S_ISDIR(st.st_mode))
        rc = err_set(e, ERR_CONFIG, "%s: not a folder", at);
    else if (access(at, W_OK | X_OK) != 0)
        rc = err_set(e, ERR_CONFIG, "%s: cannot be written to: %s", at, strerror(errno));
    xfree(at);
    return rc;
}

int file_remove_tree(const char *path, struct err *e)
{
    struct stat st;
    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    int problem = errno; /* of a folder: EISDIR, or what POSIX wants, EPERM */
    if (rmdir(path) == 0)
        return 0;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : err_set_errno(e, errno, "%s: cannot remove", path);
    if (!S_ISDIR(st.st_mode))
        return err_set_errno(e, problem, "%s: cannot remove", path);
    if ((st.st_mode & 0700) != 0700)
        (void)chmod(path, 0700); /* a failure shows at the next call */
    DIR *dir = opendir(path);
    if (dir == NULL)
        return err_set_errno(e, errno, "%s: cannot open", path);
    int rc = 0;
    struct dirent *entry = NULL;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *full = file_join(path, entry->d_name);
        rc = file_remove_tree(full, e);
        xfree(full);
    }
    closedir(dir);
    if (rc == 0 && rmdir(path) != 0 && errno != ENOENT)
        rc = err_set_errno(e, errno, "%s: cannot remove", path);
    return rc;
}

static int copy_file(const char *from, const char *to, struct err *e)
{
    int in = -1;
    struct stat st;
    int rc = open_for_reading(from, &in, &st, e);
    if (rc != 0)
        return rc;
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (out < 0) {
        close(in);
        return err_set_errno(e, errno, "%s: cannot create", to);
    }
    char block[1 << 16];
    int problem = 0;
    ssize_t n = 0;
    while (problem == 0 && (n = read(in, block, sizeof block)) != 0)
        problem = n < 0 ? errno : write_all(out, block, (size_t)n);
    if (close(out) != 0 && problem == 0)
        problem = errno;
    close(in);
    return problem == 0 ? 0 : err_set_errno(e, problem, "%s: cannot copy to %s", from, to);
}

int file_copy_tree(const char *from, const char *to, struct err *e)
{
    if (!file_is_folder(from))
        return copy_file(from, to, e);
    if (mkdir(to, 0755) != 0)
        return err_set_errno(e, errno, "%s: cannot make the folder", to);
    struct file_list files = {0};
    int rc = file_list_folder(from, &files, e);
    for (size_t i = 0; i < files.n_paths && rc == 0; i++) {
        char *source = file_join(from, files.paths[i]);
        char *target = file_join(to, files.paths[i]);
        rc = file_make_parents(target, e);
        if (rc == 0)
            rc = copy_file(source, target, e);
        xfree(source);
        xfree(target);
    }
    file_list_release(&files);
    return rc;
}

static void list_add(struct file_list *l, char *path)
{
    if ((l->n_paths & (l->n_paths - 1)) == 0) {
        size_t room = l->n_paths == 0 ? 1 : l->n_paths * 2;
        l->paths = xrealloc_array(l->paths, room, sizeof *l->paths);
    }
    l->paths[l->n_paths++] = path;
}

/* root/below is being listed; below is "" at the top. */
static int list_below(const char *root, const char *below, int depth, struct file_list *out,
                      struct err *e)
{
    char *here = *below == 0 ? xstrdup(root) : file_join(root, below);
    DIR *dir = depth > LIMIT_FOLDER_DEPTH ? NULL : opendir(here);
    int rc = 0;
    if (depth > LIMIT_FOLDER_DEPTH)
        rc = err_set(e, ERR_LIMIT, "%s: more than %d folders deep", here, LIMIT_FOLDER_DEPTH);
    else if (dir == NULL)
        rc = errno == ENOENT ? err_set(e, ERR_MISSING, "%s: no such folder", here)
                             : err_set_errno(e, errno, "%s: cannot open", here);
    struct dirent *entry = NULL;
    while (rc == 0 && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *path = *below == 0 ? xstrdup(entry->d_name) : file_join(below, entry->d_name);
        char *full = file_join(root, path);
        struct stat st;
        if (lstat(full, &st) != 0) {
            rc = err_set_errno(e, errno, "%s: cannot read its type", full);
        } else if (S_ISDIR(st.st_mode)) {
            rc = list_below(root, path, depth + 1, out, e);
        } else if (!S_ISREG(st.st_mode)) {
            rc = err_set(e, ERR_FORMAT, "%s: only regular files and folders are taken, this is %s",
                         full,
                         S_ISLNK(st.st_mode)
                             ? "a symbolic link: put a copy there (cp -L, of a folder cp -rL)"
                             : "a special file");
        } else if (strchr(path, '\n') != NULL) {
            rc = err_set(e, ERR_FORMAT, "%s: a file name with a line break is not taken", full);
        } else if (out->n_paths >= LIMIT_FOLDER_FILES) {
            rc = err_set(e, ERR_LIMIT, "%s: more than %d files", root, LIMIT_FOLDER_FILES);
        } else {
            list_add(out, path);
            path = NULL;
        }
        xfree(path);
        xfree(full);
    }
    if (dir != NULL)
        closedir(dir);
    xfree(here);
    return rc;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int sync_file(const char *path, struct err *e)
{
    int fd = -1;
    struct stat st;
    int rc = open_for_reading(path, &fd, &st, e);
    if (rc != 0)
        return rc;
    if (fsync(fd) != 0)
        rc = err_set_errno(e, errno, "%s: cannot sync", path);
    close(fd);
    return rc;
}

/* Folders after what is in them, the top one last. */
static int sync_below(const char *folder, struct err *e)
{
    struct file_list names = {0};
    int rc = file_list_names(folder, &names, e);
    for (size_t i = 0; i < names.n_paths && rc == 0; i++) {
        char *path = file_join(folder, names.paths[i]);
        rc = file_sync_tree(path, e);
        xfree(path);
    }
    file_list_release(&names);
    return rc == 0 ? file_sync_folder(folder, e) : rc;
}

int file_sync_tree(const char *path, struct err *e)
{
    return file_is_folder(path) ? sync_below(path, e) : sync_file(path, e);
}

int file_list_folder(const char *path, struct file_list *out, struct err *e)
{
    *out = (struct file_list){0};
    int rc = list_below(path, "", 0, out, e);
    if (rc != 0) {
        file_list_release(out);
        return rc;
    }
    if (out->n_paths > 0)
        qsort(out->paths, out->n_paths, sizeof *out->paths, by_bytes);
    return 0;
}

int file_list_names(const char *path, struct file_list *out, struct err *e)
{
    *out = (struct file_list){0};
    DIR *dir = opendir(path);
    if (dir == NULL)
        return err_set_errno(e, errno, "%s: cannot open", path);
    for (struct dirent *entry = NULL; (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            list_add(out, xstrdup(entry->d_name));
    closedir(dir);
    if (out->n_paths > 0)
        qsort(out->paths, out->n_paths, sizeof *out->paths, by_bytes);
    return 0;
}

void file_list_release(struct file_list *l)
{
    for (size_t i = 0; i < l->n_paths; i++)
        xfree(l->paths[i]);
    xfree(l->paths);
    *l = (struct file_list){0};
}
