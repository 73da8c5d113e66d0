#include "pipeline/base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pipeline/base/check.h"
#include "pipeline/base/limits.h"
#include "pipeline/base/xalloc.h"

/*
 * Training steps are made of hundreds of short loops, so a worker spins for a moment before it
 * sleeps; the caller does the same while it waits for the last items.
 *
 * A round is one loop. Its state is one word: round number (high half), ROUND_OPEN, and the count
 * of workers inside. A worker that comes late, because the machine is busy, finds the round closed
 * and stays out: the caller waits only for workers that took an item.
 */
#define SPIN_TURNS 20000
#define ROUND_OPEN ((uint64_t)1 << 31)
#define ROUND_INSIDE (ROUND_OPEN - 1)

struct worker {
    struct thread_pool *pool;
    pthread_t thread;
    int i_thread;
};

struct thread_pool {
    int n_threads;
    struct worker *workers; /* n_threads - 1 */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    _Atomic uint64_t state;
    atomic_bool closing;
    atomic_size_t next; /* next item */
    size_t n_items;
    void (*fn)(void *context, size_t i, int i_thread);
    void *context;
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void work_off(struct thread_pool *p, int i_thread)
{
    size_t i = 0;
    while ((i = atomic_fetch_add(&p->next, 1)) < p->n_items)
        p->fn(p->context, i, i_thread);
}

static uint32_t round_of(struct thread_pool *p)
{
    return (uint32_t)(atomic_load(&p->state) >> 32);
}

static void wait_for_round(struct thread_pool *p, uint32_t seen)
{
    for (int turn = 0; turn < SPIN_TURNS; turn++) {
        if (round_of(p) != seen)
            return;
        pause_briefly();
    }
    pthread_mutex_lock(&p->mutex);
    while (round_of(p) == seen)
        pthread_cond_wait(&p->wake, &p->mutex);
    pthread_mutex_unlock(&p->mutex);
}

/* False when the round is closed or another one has begun. */
static bool enter_round(struct thread_pool *p, uint32_t round)
{
    uint64_t state = atomic_load(&p->state);
    while ((state & ROUND_OPEN) != 0 && (uint32_t)(state >> 32) == round)
        if (atomic_compare_exchange_weak(&p->state, &state, state + 1))
            return true;
    return false;
}

static void *worker_main(void *argument)
{
    struct worker *w = argument;
    struct thread_pool *p = w->pool;
    uint32_t seen = 0;
    for (;;) {
        wait_for_round(p, seen);
        seen = round_of(p);
        if (atomic_load(&p->closing))
            return NULL;
        if (!enter_round(p, seen))
            continue;
        work_off(p, w->i_thread);
        atomic_fetch_sub(&p->state, 1); /* the round cannot change while one is inside */
    }
}

/* No worker is inside: the round's fields may have been written. */
static void open_round(struct thread_pool *p)
{
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->state, (uint64_t)(round_of(p) + 1) << 32 | ROUND_OPEN);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}

/* The allowed CPU that comes after this one, round and round; the same when it is the only one. */
static int next_cpu(const cpu_set_t *allowed, int cpu)
{
    for (int i = 1; i <= CPU_SETSIZE; i++)
        if (CPU_ISSET((cpu + i) % CPU_SETSIZE, allowed))
            return (cpu + i) % CPU_SETSIZE;
    return cpu;
}

static bool start_worker(struct worker *w)
{
    return pthread_create(&w->thread, NULL, worker_main, w) == 0;
}

/* Linux starts a thread on the CPU of its maker and spreads the two later: after milliseconds, when
 * a short loop is over. So it is started on a CPU of its own, and is free to leave it. */
static bool start_worker_at(struct worker *w, int cpu, const cpu_set_t *allowed)
{
    pthread_attr_t there;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    bool placed = pthread_attr_init(&there) == 0 &&
                  pthread_attr_setaffinity_np(&there, sizeof one, &one) == 0 &&
                  pthread_create(&w->thread, &there, worker_main, w) == 0;
    pthread_attr_destroy(&there);
    if (placed)
        (void)pthread_setaffinity_np(w->thread, sizeof *allowed, allowed);
    return placed || start_worker(w);
}

struct thread_pool *thread_pool_open(int n_threads)
{
    CHECK(n_threads >= 1 && n_threads <= LIMIT_THREADS);
    struct thread_pool *p = xalloc(sizeof *p);
    cpu_set_t allowed;
    int cpu = sched_getcpu();
    bool places = cpu >= 0 && sched_getaffinity(0, sizeof allowed, &allowed) == 0;
    p->n_threads = 1;
    p->workers = xalloc_array((size_t)n_threads, sizeof *p->workers);
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    for (int i = 1; i < n_threads; i++) {
        struct worker *w = &p->workers[i - 1];
        *w = (struct worker){.pool = p, .i_thread = i};
        cpu = places ? next_cpu(&allowed, cpu) : -1;
        if (!(places ? start_worker_at(w, cpu, &allowed) : start_worker(w)))
            break;
        p->n_threads = i + 1;
    }
    return p;
}

void thread_pool_close(struct thread_pool *p)
{
    if (p == NULL)
        return;
    atomic_store(&p->closing, true);
    open_round(p);
    for (int i = 0; i < p->n_threads - 1; i++)
        pthread_join(p->workers[i].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
    xfree(p->workers);
    xfree(p);
}

int thread_pool_size(const struct thread_pool *p)
{
    return p->n_threads;
}

void thread_pool_run(struct thread_pool *p, size_t n_items,
                     void (*fn)(void *context, size_t i, int i_thread), void *context)
{
    if (p->n_threads == 1 || n_items <= 1) {
        for (size_t i = 0; i < n_items; i++)
            fn(context, i, 0);
        return;
    }
    p->fn = fn;
    p->context = context;
    p->n_items = n_items;
    atomic_store(&p->next, 0);
    open_round(p);
    work_off(p, 0);
    atomic_fetch_and(&p->state, ~ROUND_OPEN);
    for (int turn = 0; (atomic_load(&p->state) & ROUND_INSIDE) != 0; turn++) {
        if (turn < SPIN_TURNS)
            pause_briefly();
        else
            sched_yield();
    }
}

int thread_cpus(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n > LIMIT_THREADS ? LIMIT_THREADS : n;
}
