/* Writes the seeds of a corpus folder as the bytes that they mean, for libFuzzer, which knows
 * nothing of .hex: expand FROM TO. */

#include <stdio.h>

#include "pipeline/base/file.h"
#include "pipeline/base/xalloc.h"
#include "tests/fuzz/seed.h"

static int expand(const char *from, const char *to, struct err *e)
{
    struct seed_list seeds;
    int rc = seed_list_read(&seeds, from, e);
    if (rc == 0)
        rc = file_make_folder(to, e);
    for (size_t i = 0; i < seeds.n_seeds && rc == 0; i++) {
        char *path = file_join(to, seeds.seeds[i].name);
        rc = file_write(path, seeds.seeds[i].bytes.bytes, seeds.seeds[i].bytes.n_bytes, e);
        xfree(path);
    }
    seed_list_release(&seeds);
    return rc;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: expand FROM_FOLDER TO_FOLDER\n");
        return 2;
    }
    if (expand(argv[1], argv[2], &e) == 0)
        return 0;
    fprintf(stderr, "expand: %s\n", e.text);
    return 1;
}
