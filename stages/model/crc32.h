#ifndef FMFORGE_MODEL_CRC32_H
#define FMFORGE_MODEL_CRC32_H

/* The checksum of zip files (PKWARE APPNOTE 4.4.7), by zlib. "123456789" gives cbf43926. */

#include <stddef.h>
#include <stdint.h>

#include "pipeline/base/thread.h"

/* sum: of the bytes before, 0 at first. */
uint32_t crc32_add(uint32_t sum, const void *bytes, size_t n_bytes);
/* Of all of them, by the threads of the pool; NULL: by this one. */
uint32_t crc32_of(struct thread_pool *pool, const void *bytes, size_t n_bytes);

#endif
