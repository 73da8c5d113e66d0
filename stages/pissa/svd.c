#include "stages/pissa/svd.h"

#include <stddef.h>

#include "pipeline/base/xalloc.h"

#define WORK_MAX 1e9

/* LAPACK, documented at netlib.org/lapack; the last argument is the length of jobz, as GNU Fortran
 * passes it. */
void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s,
             double *u, const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork,
             int *iwork, int *info, size_t jobz_length);

int svd(int m, int n, double *a, double *s, double *u, double *vt, struct err *e)
{
    int least = m < n ? m : n, info = 0, ask = -1;
    int *iwork = xalloc_array(8 * (size_t)least, sizeof *iwork);
    double size = 0;
    dgesdd_("S", &m, &n, a, &m, s, u, &m, vt, &least, &size, &ask, iwork, &info, 1);
    int rc = 0;
    if (info != 0 || !(size < WORK_MAX))
        rc = err_set(e, ERR_LIMIT, "LAPACK's dgesdd has no plan for a matrix of %d x %d", m, n);
    if (!rc) {
        int n_work = (int)size;
        double *work = xalloc_array((size_t)n_work, sizeof *work);
        dgesdd_("S", &m, &n, a, &m, s, u, &m, vt, &least, work, &n_work, iwork, &info, 1);
        xfree(work);
        if (info != 0)
            rc = err_set(e, ERR_NUMERIC,
                         "the singular values of a matrix of %d x %d were not "
                         "found (dgesdd: %d)",
                         m, n, info);
    }
    xfree(iwork);
    return rc;
}
