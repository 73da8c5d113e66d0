#ifndef FMFORGE_BASE_THREAD_H
#define FMFORGE_BASE_THREAD_H

/*
 * A pool of threads for data-parallel loops. The caller takes part. Work is cut into items whose
 * geometry never depends on the number of threads, so that results do not either.
 */

#include <stddef.h>

struct thread_pool; /* opaque: holds threads */

/* n_threads >= 1 counts the caller. Of fewer threads where the system gives no more. */
struct thread_pool *thread_pool_open(int n_threads);
void thread_pool_close(struct thread_pool *p); /* NULL is fine */
int thread_pool_size(const struct thread_pool *p);

/* Calls fn(context, i, i_thread) for every i in [0, n_items), items handed out in order,
 * 0 <= i_thread < size. Returns when all are done. Not reentrant. */
void thread_pool_run(struct thread_pool *p, size_t n_items,
                     void (*fn)(void *context, size_t i, int i_thread), void *context);

/* CPUs this process may use. */
int thread_cpus(void);

#endif
