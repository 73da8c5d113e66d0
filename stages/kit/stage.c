#include "stages/kit/stage.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/flag.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/str.h"
#include "pipeline/base/thread.h"
#include "pipeline/base/xalloc.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

bool stage_interrupted(void)
{
    return interrupted != 0;
}

static size_t port_index(const struct stage_port *ports, size_t n_ports, const char *name)
{
    size_t i = 0;
    while (i < n_ports && !str_eq(ports[i].name, name))
        i++;
    return i;
}

const char *stage_in(const struct stage_run *run, const char *name)
{
    size_t i = port_index(run->spec->ins, run->spec->n_ins, name);
    CHECK(i < run->spec->n_ins);
    return run->in_paths[i];
}

const char *stage_out(const struct stage_run *run, const char *name)
{
    size_t i = port_index(run->spec->outs, run->spec->n_outs, name);
    CHECK(i < run->spec->n_outs);
    return run->out_paths[i];
}

void stage_event(const struct stage_run *run, const char *type, struct json *fields)
{
    struct json *event = fields != NULL ? fields : json_new_object();
    json_put_string(event, "event", type);
    if (run->events != NULL) {
        struct buf line;
        buf_init(&line, BUF_MAX_DEFAULT);
        json_write_canonical(event, &line);
        buf_add_char(&line, '\n');
        int fd = open(run->events, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd >= 0) {
            ssize_t written = write(fd, line.bytes, line.n_bytes);
            (void)written; /* a lost event fails nothing */
            close(fd);
        }
        buf_release(&line);
    }
    json_free(event);
}

void stage_progress(const struct stage_run *run, const char *note, double done, double of)
{
    static double last; /* the only state of the process beside `interrupted`: a rate limit */
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    if (seconds - last < 0.2 && done < of)
        return;
    last = seconds;
    struct json *fields = json_new_object();
    json_put_string(fields, "note", note);
    json_put_f64(fields, "done", done);
    json_put_f64(fields, "of", of);
    stage_event(run, "progress", fields);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%s: %3.0f %% %s\033[K%s", run->spec->name,
                of > 0 ? 100 * done / of : 0.0, note, done >= of ? "\n" : "");
}

void stage_say(const struct stage_run *run, const char *format, ...)
{
    char text[ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%s: %s\n", run->spec->name, text);
}

static struct json *describe_ports(const struct stage_port *ports, size_t n_ports, bool inputs)
{
    struct json *list = json_new_array();
    for (size_t i = 0; i < n_ports; i++) {
        struct json *o = json_new_object();
        json_put_string(o, "name", ports[i].name);
        json_put_string(o, "kind", ports[i].kind);
        if (inputs)
            json_put_bool(o, "required", ports[i].required);
        json_put_string(o, "help", ports[i].help);
        json_append(list, o);
    }
    return list;
}

/* The file that the loader mapped for a soname, from /proc/self/maps; false when it is not mapped.
 */
static bool mapped_path(const char *soname, char *path, size_t path_bytes)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    if (maps == NULL)
        return false;
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    while (!found && getline(&line, &room, maps) > 0) {
        char *slash = strchr(line, '/');
        if (slash == NULL)
            continue;
        slash[strcspn(slash, "\n")] = 0;
        if (str_starts(file_base_name(slash), soname) && strlen(slash) < path_bytes) {
            memcpy(path, slash, strlen(slash) + 1);
            found = true;
        }
    }
    free(line);
    fclose(maps);
    return found;
}

static int describe(const struct stage_spec *spec, struct buf *out, struct err *e)
{
    struct json *o = json_new_object();
    json_put_i64(o, "schema", 1);
    json_put_string(o, "name", spec->name);
    json_put_string(o, "summary", spec->summary);
    json_put_bool(o, "tool", spec->is_tool);
    json_put_bool(o, "portable", spec->portable);
    if (spec->subject != NULL)
        json_put_string(o, "subject", spec->subject);
    json_put(o, "inputs", describe_ports(spec->ins, spec->n_ins, true));
    if (spec->copies != NULL) {
        struct json *copies = json_new_array();
        for (size_t i = 0; spec->copies[i] != NULL; i++)
            json_append(copies, json_new_string(spec->copies[i]));
        json_put(o, "copies", copies);
    }
    if (spec->without != NULL) {
        struct json *without = json_new_object();
        for (const struct stage_without *w = spec->without; w->in != NULL; w++)
            json_put_string(without, w->in, w->what);
        json_put(o, "without", without);
    }
    json_put(o, "outputs", describe_ports(spec->outs, spec->n_outs, false));
    json_put(o, "params", param_describe(spec->params, spec->n_params));
    struct json *libraries = json_new_array();
    struct json *paths = json_new_object();
    int rc = 0;
    for (size_t i = 0; spec->libraries != NULL && spec->libraries[i] != NULL && rc == 0; i++) {
        char path[LIMIT_PATH_BYTES];
        json_append(libraries, json_new_string(spec->libraries[i]));
        if (mapped_path(spec->libraries[i], path, sizeof path))
            json_put_string(paths, spec->libraries[i], path);
        else
            rc =
                err_set(e, ERR_MISSING, "%s is not among the mapped libraries", spec->libraries[i]);
    }
    json_put(o, "libraries", libraries);
    json_put(o, "library_paths", paths);
    if (rc == 0)
        json_write_pretty(o, 1, out);
    json_free(o);
    return rc;
}

enum { TEXT_COLUMN = 21 }; /* of the help */

static void help_ports(const char *title, const struct stage_port *ports, size_t n_ports,
                       struct buf *out)
{
    if (n_ports == 0)
        return;
    buf_printf(out, "\n%s\n", title);
    for (size_t i = 0; i < n_ports; i++) {
        size_t start = out->n_bytes;
        char *text = xasprintf("%s%s: %s", ports[i].kind, ports[i].required ? "" : " (optional)",
                               ports[i].help);
        buf_printf(out, "  %s", ports[i].name);
        flag_help_text(text, out->n_bytes - start, TEXT_COLUMN, out);
        xfree(text);
    }
}

/* Its sentence, its values, its default. */
static void help_param(const struct param *p, struct buf *out)
{
    const double bounds[2] = {p->min, p->max};
    size_t start = out->n_bytes;
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    buf_add_text(&text, p->help);
    for (size_t i = 0; p->type == PARAM_CHOICE && p->choices[i] != NULL; i++)
        buf_printf(&text, "%s%s", i == 0 ? " [" : "|", p->choices[i]);
    if (p->type == PARAM_CHOICE)
        buf_add_char(&text, ']');
    flag_help_range(p->min != 0 || p->max != 0 ? bounds : NULL, p->unit, &text);
    if (p->default_text == NULL)
        buf_add_text(&text, " (required)");
    else
        buf_printf(&text, " (default %s)", *p->default_text != 0 ? p->default_text : "empty");
    buf_printf(out, "  %s", p->name);
    flag_help_text(buf_text(&text), out->n_bytes - start, TEXT_COLUMN, out);
    buf_release(&text);
}

static void help(const struct stage_spec *spec, const struct flag *flags, size_t n_flags,
                 struct buf *out)
{
    buf_printf(out, "stage-%s: %s\n\n", spec->name, spec->summary);
    buf_printf(out,
               "usage: stage-%s --config FILE --in NAME=PATH ... --out NAME=PATH ...\n"
               "       stage-%s --describe\n\n",
               spec->name, spec->name);
    flag_help(flags, n_flags, out);
    help_ports("inputs", spec->ins, spec->n_ins, out);
    help_ports("outputs", spec->outs, spec->n_outs, out);
    if (spec->n_params > 0)
        buf_add_text(out, "\nparameters (keys of the config)\n");
    for (size_t i = 0; i < spec->n_params; i++)
        help_param(&spec->params[i], out);
}

/* Splits NAME=PATH items into the port table. */
static int take_ports(const struct flag_list *items, const struct stage_port *ports, size_t n_ports,
                      const char *option, const char **paths, struct err *e)
{
    const char *names[STAGE_PORTS_MAX];
    for (size_t i = 0; i < n_ports; i++)
        names[i] = ports[i].name;
    for (size_t i = 0; i < items->n_items; i++) {
        const char *item = items->items[i];
        size_t n = strcspn(item, "=");
        if (item[n] == 0 || item[n + 1] == 0)
            return err_set(e, ERR_CONFIG, "--%s: expected NAME=PATH, found \"%s\"", option, item);
        char *name = xstrndup(item, n);
        size_t port = port_index(ports, n_ports, name);
        const char *near = str_nearest(name, names, n_ports);
        int rc = 0;
        if (port == n_ports)
            rc = err_set(e, ERR_CONFIG, "--%s: there is no port \"%s\"%s%s%s", option, name,
                         near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                         near != NULL ? "\"?" : "");
        else if (paths[port] != NULL)
            rc = err_set(e, ERR_CONFIG, "--%s: \"%s\" is given twice", option, name);
        else
            paths[port] = item + n + 1;
        xfree(name);
        if (rc != 0)
            return rc;
    }
    for (size_t i = 0; i < n_ports; i++) {
        if (ports[i].required && paths[i] == NULL)
            return err_set(e, ERR_CONFIG, "--%s %s=PATH is missing (%s: %s)", option, ports[i].name,
                           ports[i].kind, ports[i].help);
    }
    return 0;
}

struct options {
    const char *config;
    struct flag_list ins, outs;
    const char *work, *events, *kernels;
    int64_t n_threads;
    bool describe;
};

static int run_stage(const struct options *o, struct stage_run *run,
                     int (*body)(const struct stage_run *run, struct err *e), struct err *e)
{
    const struct stage_spec *spec = run->spec;
    int rc = take_ports(&o->ins, spec->ins, spec->n_ins, "in", run->in_paths, e);
    if (rc == 0)
        rc = take_ports(&o->outs, spec->outs, spec->n_outs, "out", run->out_paths, e);
    if (rc == 0 && o->config == NULL)
        rc = err_set(e, ERR_CONFIG, "--config FILE is missing");
    if (rc == 0 && (o->n_threads < 0 || o->n_threads > LIMIT_THREADS))
        rc = err_set(e, ERR_CONFIG, "--threads: expected 1 to %d", LIMIT_THREADS);
    if (rc != 0)
        return rc;
    run->n_threads = o->n_threads > 0 ? (int)o->n_threads : thread_cpus();
    run->work = o->work;
    run->events = o->events;
    run->kernels = o->kernels;
    struct json *tree = NULL;
    rc = json_read(o->config, &tree, e);
    void *config = xalloc(spec->config_bytes);
    if (rc == 0) {
        rc = param_read(spec->params, spec->n_params, tree, config, e);
        if (rc != 0)
            rc = err_wrap(e, "%s", o->config);
    }
    if (rc == 0) {
        run->config = config;
        run->config_tree = tree;
        rc = body(run, e);
    }
    xfree(config);
    json_free(tree);
    return rc;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int stage_main(int argc, char **argv, const struct stage_spec *spec,
               int (*body)(const struct stage_run *run, struct err *e))
{
    file_fill_streams();
    CHECK(spec->n_ins <= STAGE_PORTS_MAX && spec->n_outs <= STAGE_PORTS_MAX);
    struct options o = {.kernels = "auto"};
    const struct flag flags[] = {
        {"config", 0, FLAG_STRING, &o.config, "FILE", "the complete config, JSON"},
        {"in", 0, FLAG_LIST, &o.ins, "NAME=PATH", "an input"},
        {"out", 0, FLAG_LIST, &o.outs, "NAME=PATH", "an output; the path must not exist"},
        {"work", 0, FLAG_STRING, &o.work, "DIR", "a folder that survives a kill: checkpoints"},
        {"events", 0, FLAG_STRING, &o.events, "FILE", "progress and times, JSON lines"},
        {"threads", 0, FLAG_INT, &o.n_threads, "N", "threads (default: one per CPU)"},
        {"kernels", 0, FLAG_STRING, &o.kernels, "NAME",
         "auto, portable, avx2, avx512, amx or neon"},
        {"describe", 0, FLAG_BOOL, &o.describe, NULL, "print inputs, outputs and parameters, JSON"},
    };
    size_t n_flags = sizeof flags / sizeof flags[0];
    struct err e = {0};
    size_t n_positionals = 0;
    bool help_wanted = false;
    struct buf text;
    buf_init(&text, BUF_MAX_DEFAULT);
    struct stage_run run = {.spec = spec};
    int rc = flag_parse(argc, argv, flags, n_flags, NULL, 0, &n_positionals, &help_wanted, &e);
    if (rc == 0 && help_wanted) {
        help(spec, flags, n_flags, &text);
    } else if (rc == 0 && o.describe) {
        rc = describe(spec, &text, &e);
    } else if (rc == 0) {
        if (!spec->is_tool) /* a tool has nothing to save: it ends at once */
            catch_signals();
        rc = run_stage(&o, &run, body, &e);
    }
    if (text.n_bytes > 0)
        fputs(text.bytes, stdout);
    buf_release(&text);
    if ((fflush(stdout) != 0 || ferror(stdout)) && rc == 0)
        rc = err_set(&e, ERR_IO, "cannot write to standard output");
    if (rc == 0)
        return 0;
    fprintf(stderr, "%s: %s\n", spec->name, e.text);
    return stage_interrupted() ? 130 : err_exit_status(&e);
}
