/* fmforge: the engine's program. Finds the command, runs it, prints its error. */

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "pipeline/base/file.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/release.h"
#include "pipeline/base/str.h"
#include "pipeline/cmd/cmd.h"

struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv, const struct cmd_context *c, struct err *e);
};

static const struct command commands[] = {
    {"run", "make what a manifest describes, test it and deliver it", cmd_run},
    {"plan", "say what a run would do, without doing it", cmd_plan},
    {"why", "say why a stage runs, or why it does not", cmd_why},
    {"graph", "print what is made from what, for Graphviz", cmd_graph},
    {"log", "list the recorded runs, or show one", cmd_log},
    {"diff", "say what differs between two recorded runs", cmd_diff},
    {"report", "draw the page of a recorded run", cmd_report},
    {"accept", "make the results of a run the baseline of later ones", cmd_accept},
    {"nightly", "run every manifest of a folder and compare with the baselines", cmd_nightly},
    {"audit", "say where a file came from, and check it", cmd_audit},
    {"bom", "print a package's bill of materials, CycloneDX", cmd_bom},
    {"card", "print a package's model card", cmd_card},
    {"verify", "check every stored object and the whole ledger", cmd_verify},
    {"cat", "print the bytes of a stored object", cmd_cat},
    {"reproduce", "make a recorded run once more and compare every digest", cmd_reproduce},
    {"gc", "remove from the store what no kept run needs", cmd_gc},
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void write_out(const char *text, size_t n_bytes)
{
    fwrite(text, 1, n_bytes, stdout);
}

static void write_note(const char *text, size_t n_bytes)
{
    fflush(stdout); /* so that both streams interleave as they happened */
    fwrite(text, 1, n_bytes, stderr);
    fflush(stderr);
}

static void print_help(void)
{
    printf("usage: fmforge COMMAND [options]\n"
           "       fmforge --version\n\n"
           "An adapter factory: a manifest and a toolkit go in, a tested adapter package comes "
           "out.\n\n"
           "commands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    printf("  %-10s %s\n", "TOOL",
           "any stage that is a tool, e.g. generate: fmforge generate --help");
    printf("\nfmforge COMMAND --help lists the options of a command.\n"
           "exit status: 0 done, 1 work failed, 2 usage or config, 3 quality gate not met,\n"
           "4 cannot tell (audit, reproduce), 130 interrupted\n");
}

/* The folder of the running program, so that stages are found without PATH. */
static int program_folder(char out[LIMIT_PATH_BYTES], struct err *e)
{
    ssize_t n = readlink("/proc/self/exe", out, LIMIT_PATH_BYTES - 1);
    if (n <= 0)
        return err_set(e, ERR_IO, "/proc/self/exe cannot be read: where the program is is unknown");
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = '\0';
    return 0;
}

static int terminal_columns(void)
{
    struct winsize w;
    memset(&w, 0, sizeof w);
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1) /* 0: it does not say */
        return w.ws_col;
    return 80;
}

static int dispatch(int argc, char **argv, const struct cmd_context *c, struct err *e)
{
    if (argv[1][0] == '-')
        return err_set(e, ERR_CONFIG, "%s: options follow the command: fmforge COMMAND %s ...",
                       argv[1], argv[1]);
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (str_eq(argv[1], commands[i].name))
            return commands[i].run(argc - 1, argv + 1, c, e);
    return cmd_tool(argc - 1, argv + 1, c, e);
}

static bool is_help(const char *argument)
{
    return str_eq(argument, "--help") || str_eq(argument, "help") || str_eq(argument, "-h");
}

int main(int argc, char **argv)
{
    file_fill_streams();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file above the shell's limit is an error that names it */
    signal(SIGCHLD, SIG_DFL); /* ignored, as one may inherit it, nobody hears how a child ended */
    struct err e = {0};
    char folder[LIMIT_PATH_BYTES];
    struct term term = {write_out, write_note, isatty(STDERR_FILENO) == 1, 80};
    if (term.note_is_terminal)
        term.columns = terminal_columns();
    const char *names[N_COMMANDS];
    for (size_t i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i].name;
    const struct cmd_context c = {folder, &term, names, N_COMMANDS};
    int rc = 0;
    if (argc < 2 || is_help(argv[1])) {
        print_help();
        rc = argc < 2 ? 2 : 0;
    } else if (str_eq(argv[1], "--version")) {
        puts("fmforge " FMFORGE_VERSION);
    } else {
        rc = program_folder(folder, &e);
        if (rc == 0)
            rc = dispatch(argc, argv, &c, &e);
    }
    if (rc < 0) {
        fflush(stdout);
        fprintf(stderr, "fmforge: %s\n", e.text);
        rc = err_exit_status(&e);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "fmforge: standard output cannot be written\n");
        return rc ? rc : 1;
    }
    return rc;
}
