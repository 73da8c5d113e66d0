#ifndef FMFORGE_BASE_MACHINE_H
#define FMFORGE_BASE_MACHINE_H

/* What this machine has: for plans that people read, never for a result. */

#include <stdbool.h>
#include <stdint.h>

struct machine_memory {
    uint64_t total_bytes;     /* of the machine, or of the control group that holds us */
    uint64_t available_bytes; /* without swapping, as the kernel estimates; at most total */
};

/* false where the system does not say. */
bool machine_memory(struct machine_memory *out);

#endif
