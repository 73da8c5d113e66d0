/*
 * pipeline/manifest/layout.h: the bytes are a layout; the folder has a few files, a constant and a
 * version to find. What is opened stays in its two folders, and its files are private.
 */

#include <string.h>

#include "pipeline/base/check.h"
#include "pipeline/base/file.h"
#include "pipeline/base/str.h"
#include "pipeline/base/xalloc.h"
#include "pipeline/manifest/layout.h"
#include "tests/fuzz/fuzz.h"

#define SIGNATURE "00112233445566778899aabbccddeeff00112233"

static const struct {
    const char *name, *text;
} files[] = {
    {"kit/c.py", "SIG = \"" SIGNATURE "\"\n"},
    {"kit/a/base.pt", "x"},
    {"kit/a/draft.pt", "x"},
    {"kit/k.json", "{\"type\": \"seven\"}"},
    {"shelf/one/toolkit.yaml", "fmforge_toolkit: 1\nname: one\nversion: 1\nsignature: " SIGNATURE
                               "\nfacets: {shape: shape.json, rules: {rank: 8}}\n"},
};

static void put_files(const char *root)
{
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct err e = {0};
        char *path = file_join(root, files[i].name);
        CHECK(file_make_parents(path, &e) == 0);
        CHECK(file_write(path, files[i].text, strlen(files[i].text), &e) == 0);
        xfree(path);
    }
}

static void check(const struct toolkit_dir *t, const char *kit, const char *shelf)
{
    CHECK(str_eq(t->signature, SIGNATURE));
    for (size_t i = 0; i < t->n_facets; i++) {
        const struct facet *f = &t->facets[i];
        bool is_public = f->type == FACET_PATH && str_starts(f->path, shelf);
        CHECK(f->type != FACET_PATH || is_public || str_starts(f->path, kit));
        CHECK(f->is_private == (f->type != FACET_VALUE && !is_public));
    }
    json_free(toolkit_dir_to_json(t));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    struct toolkit_dir t = {0};
    struct err e = {0};
    const char *root = fuzz_folder();
    char *shelf = file_join(root, "shelf"), *kit = file_join(root, "kit");
    if (!file_is_folder(shelf))
        put_files(root);
    fuzz_folder_put("shelf/x-layout.yaml", data, n_bytes);
    int rc = layout_open(&t, kit, shelf, &e);
    fuzz_taken = rc == 0;
    if (rc == 0)
        check(&t, kit, shelf);
    else
        CHECK(e.code == ERR_CONFIG || e.code == ERR_FORMAT);
    toolkit_dir_release(&t);
    (void)layout_resembles(kit, shelf);
    xfree(shelf);
    xfree(kit);
    return 0;
}
