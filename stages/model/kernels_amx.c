/* x86-64 with AVX-512 and AMX's tiles of bytes; compiled as kernels_avx512.c and for VBMI, AMX-TILE
 * and AMX-INT8. */

#include <stddef.h>

#if defined(__x86_64__)
#include "stages/model/kernels_avx512.h"

#define INT16_ROWS 16
#define KERNELS_NAME "amx"
#define KERNELS_SYMBOL kernels_amx

#include "stages/model/kernels_body.h"
#else
typedef int kernels_amx_is_for_x86_64;
#endif
