#include "pipeline/base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *function, const char *condition)
{
    fprintf(stderr, "internal error: %s: %s does not hold. This is a mistake in fmforge.\n",
            function, condition);
    abort();
}
