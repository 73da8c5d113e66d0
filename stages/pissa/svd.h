#ifndef FMFORGE_PISSA_SVD_H
#define FMFORGE_PISSA_SVD_H

/* The singular value decomposition of one matrix, by LAPACK's dgesdd (divide and conquer). */

#include <stddef.h>

#include "pipeline/base/err.h"

/*
 * M (m, n), column by column: M = U diag(S) V^T with the values of s falling. Room: a m * n
 * (overwritten), s min(m, n), u m * min(m, n) column by column, vt min(m, n) * n column by column.
 * ERR_NUMERIC when it does not converge, ERR_LIMIT when its work space is too large.
 */
int svd(int m, int n, double *a, double *s, double *u, double *vt, struct err *e) MUST_USE;
/* Bytes that svd takes beside that room. ERR_LIMIT as svd. */
int svd_bytes(int m, int n, size_t *bytes, struct err *e) MUST_USE;

#endif
