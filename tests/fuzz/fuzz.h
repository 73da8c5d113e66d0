#ifndef FMFORGE_TESTS_FUZZ_H
#define FMFORGE_TESTS_FUZZ_H

/*
 * What the fuzz targets share. A target is one file <parser>_fuzz.c with one function, called with
 * any bytes: by replay.c in `make test`, by libFuzzer in `make MODE=fuzz fuzz`. Broken input is an
 * error of the parser; a target fails by crashing (CHECK included), by a sanitizer, or by a leak.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Always 0: libFuzzer knows no other answer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* Whether the last input was taken, set by the target: the driver compares seeds with their names.
 */
extern bool fuzz_taken;

/* The bytes as a file without a place on disk; the path is good until the next call. */
const char *fuzz_file(const void *bytes, size_t n_bytes);
/* A folder of this process below /tmp, empty at first, removed at exit. */
const char *fuzz_folder(void);
/* Removes it now; the driver does so after a crash, by the crashed process's id. */
void fuzz_folder_remove(long process);
/* Replaces folder/name; name stays valid. */
void fuzz_folder_put(const char *name, const void *bytes, size_t n_bytes);

#endif
