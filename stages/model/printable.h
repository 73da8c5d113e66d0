#ifndef FMFORGE_MODEL_PRINTABLE_H
#define FMFORGE_MODEL_PRINTABLE_H

/* Bytes of a file that nobody has checked yet, as text for a message. */

#include <stddef.h>

#define PRINTABLE_BYTES 160

/* Printable ASCII as it is, every other byte as '?', "..." at the end when cut. Returns out. */
const char *printable(const void *bytes, size_t n_bytes, char out[PRINTABLE_BYTES]);

#endif
