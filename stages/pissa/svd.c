#include "stages/pissa/svd.h"

#include <stddef.h>

#include "pipeline/base/xalloc.h"

#define WORK_MAX 1e9

/* LAPACK, documented at netlib.org/lapack; the last argument is the length of jobz, as GNU Fortran
 * passes it. */
void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s,
             double *u, const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork,
             int *iwork, int *info, size_t jobz_length);

/* Asks LAPACK how many doubles it works in; nothing else is read or written. */
static int work_of(int m, int n, int *n_work, struct err *e)
{
    int least = m < n ? m : n, info = 0, ask = -1, iwork = 0;
    double size = 0, none = 0;
    dgesdd_("S", &m, &n, &none, &m, &none, &none, &m, &none, &least, &size, &ask, &iwork, &info, 1);
    if (info != 0 || !(size < WORK_MAX))
        return err_set(e, ERR_LIMIT, "LAPACK's dgesdd has no plan for a matrix of %d x %d", m, n);
    *n_work = (int)size;
    return 0;
}

int svd_bytes(int m, int n, size_t *bytes, struct err *e)
{
    int n_work = 0, rc = work_of(m, n, &n_work, e);
    *bytes = (size_t)n_work * sizeof(double) + 8 * (size_t)(m < n ? m : n) * sizeof(int);
    return rc;
}

int svd(int m, int n, double *a, double *s, double *u, double *vt, struct err *e)
{
    int least = m < n ? m : n, info = 0, n_work = 0;
    int *iwork = xalloc_array(8 * (size_t)least, sizeof *iwork);
    int rc = work_of(m, n, &n_work, e);
    if (!rc) {
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
