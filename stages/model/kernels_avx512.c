/* x86-64 with AVX-512 F, BW, DQ, VL and VNNI; compiled with those flags and -mfma. */

#include <stddef.h>

#if defined(__x86_64__)
#include "stages/model/kernels_avx512.h"

#define INT16_ROWS 8
#define KERNELS_NAME "avx512"
#define KERNELS_SYMBOL kernels_avx512

#include "stages/model/kernels_body.h"
#else
typedef int kernels_avx512_is_for_x86_64;
#endif
