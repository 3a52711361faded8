/* A pool of threads, one for the process, that share the work of a single step, or of the steps of several searches.
 *
 * Work is cut into chunks. Whoever is free claims the next one, by a compare-and-swap on a ticket that counts works and
 * claimed chunks; the caller claims as the others do. So a thread that does not come, for its core is busy, costs nothing.
 * One that is interrupted within a chunk costs little: the others write to memory of their own first, and hand it over
 * if the chunk is still theirs. The caller waits for about as long as a chunk takes, and then computes it itself.
 *
 * Work that changes what is its own (ch_together) cannot be taken back: a chunk is a whole step there, and the caller waits.
 *
 * Which thread computes a chunk does not change a bit of it. Threads that find nothing to do spin for a short while, and
 * then sleep. After a fork the child has no threads but its own, and starts others when it needs them. */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rows.h"

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define MOST_THREADS 64
#define MOST_CHUNKS 1024
#define SPIN 250e-6 /* seconds before a thread without work sleeps */
#define LEAST_PATIENCE 25e-6 /* seconds that a caller waits for a chunk at least: an interrupt is no busy core */
#define SHORT_PAUSE 2e-3 /* seconds that a caller goes on alone after another thread was late; twice as long each time, */
#define LONG_PAUSE 30e-3 /* up to this, until none is late any more */
#define CLOSED 0xffffffffu

enum { OPEN, HANDED_OVER, TAKEN, DONE }; /* what became of a chunk: TAKEN by the caller, or being handed over, or done */

/* A work as other threads copy it. What `work.job` points to is in `job`. */
typedef struct {
    ch_work_shared work;
    unsigned char job[CH_JOB];
    unsigned chunks;
    int threads;
} ch_job;

typedef struct {
    pthread_t thread;
    int number;
    atomic_uint turns;  /* odd while it may be within a chunk */
    float *apart;       /* scratch memory, then results */
    size_t room;        /* of it, in floats */
} ch_helper;

static struct {
    atomic_int busy;             /* a caller has the pool; others compute alone meanwhile */
    atomic_uint_fast64_t ticket; /* works << 32 | chunks claimed, or CLOSED */
    atomic_uint_fast64_t state[MOST_CHUNKS]; /* works << 32 | what became of the chunk */
    ch_job job;
    atomic_int started, asleep;
    atomic_int core;             /* that the caller is on */
    double alone_until, pause;   /* of whoever has the pool */
    atomic_uint bell;            /* works begun, what sleepers wait for */
    atomic_uint ended;           /* whole chunks that others have ended, what a caller waits for */
    atomic_int waiting;          /* whether one sleeps for it */
    ch_helper helpers[MOST_THREADS];
    pthread_mutex_t lock;        /* where there is no futex */
    pthread_cond_t rung;
} pool = {.ticket = CLOSED, .pause = SHORT_PAUSE, .lock = PTHREAD_MUTEX_INITIALIZER, .rung = PTHREAD_COND_INITIALIZER};

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ------------------------------------------------------------------------------------------------------------------- waiting */

#if defined(__linux__)
/* A futex, for a thread that is interrupted on its way to sleep must hold no lock that a caller needs. */
static void sleep_while(atomic_uint *count, unsigned value) {
    syscall(SYS_futex, count, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake_all(atomic_uint *count) { syscall(SYS_futex, count, FUTEX_WAKE_PRIVATE, MOST_THREADS, NULL, NULL, 0); }

static int core_of_this(void) { return sched_getcpu(); }

/* Leaves the core that the caller is on: while one of both runs there the other one waits. */
static void leave_core(int core) {
    cpu_set_t allowed;
    if (sched_getaffinity(getpid(), sizeof allowed, &allowed)) return; /* of the first thread: that of the process */
    CPU_CLR(core, &allowed);
    if (CPU_COUNT(&allowed)) sched_setaffinity(0, sizeof allowed, &allowed);
}
#else
static void sleep_while(atomic_uint *count, unsigned value) {
    pthread_mutex_lock(&pool.lock);
    while (atomic_load(count) == value) pthread_cond_wait(&pool.rung, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

static void wake_all(atomic_uint *count) {
    (void)count;
    pthread_mutex_lock(&pool.lock);
    pthread_cond_broadcast(&pool.rung);
    pthread_mutex_unlock(&pool.lock);
}

static int core_of_this(void) { return -1; }

static void leave_core(int core) { (void)core; }
#endif

/* ------------------------------------------------------------------------------------------------------------------- helpers */

/* Claims the next chunk of the work that `ticket` counts; returns its number, or -1. */
static int claim(uint_fast64_t ticket, unsigned chunks) {
    while ((uint32_t)ticket < chunks) {
        uint_fast64_t before = ticket;
        if (atomic_compare_exchange_weak(&pool.ticket, &ticket, ticket + 1)) return (int)(uint32_t)before;
        if (ticket >> 32 != before >> 32) return -1;
    }
    return -1;
}

/* Puts what a helper computed in its place. */
static void hand_over(const ch_work_shared *work, int first, int last, const float *apart) {
    size_t width = (size_t)(last - first) * work->width, begin = (size_t)first * work->width;
    for (int r = 0; r < work->rows; r++, apart += width) {
        float *y = work->y + (size_t)r * work->stride + begin;
        if (!work->residual) {
            memcpy(y, apart, width * sizeof(float));
            continue;
        }
        const float *residual = work->residual + (size_t)r * work->stride + begin;
        for (size_t i = 0; i < width; i++) y[i] = apart[i] + residual[i];
    }
}

static int ends_at(const ch_work_shared *work, int chunk) {
    int last = (chunk + 1) * work->at_once;
    return last < work->units ? last : work->units;
}

static int room_for(ch_helper *helper, const ch_work_shared *work) {
    size_t wanted = (size_t)work->rows * work->at_once * work->width + work->scratch_size;
    if (wanted <= helper->room) return 1;
    free(helper->apart);
    helper->apart = ch_allocate(wanted * sizeof(float));
    helper->room = helper->apart ? wanted : 0;
    return helper->apart != NULL;
}

/* The caller waits for it, and frees nothing meanwhile: nobody else need wait for this thread (ch_settle). */
static void compute_whole(ch_helper *helper, const ch_job *job, int first, int last) {
    atomic_fetch_add(&helper->turns, 1);
    job->work.compute(job->job, first, last, NULL, NULL);
    atomic_fetch_add(&helper->turns, 1);
}

/* Computes a chunk of what there is; returns whether there was one. A copy of the work is whole if the claim that follows
 * succeeds: then nobody began another work meanwhile. */
static int help(ch_helper *helper) {
    uint_fast64_t ticket = atomic_load(&pool.ticket), turn = ticket >> 32 << 32, open = turn | OPEN;
    ch_job copy = pool.job;
    atomic_thread_fence(memory_order_acquire);
    if ((uint32_t)ticket >= MOST_CHUNKS || (uint32_t)ticket >= copy.chunks) return 0;
    if (atomic_load(&pool.ticket) >> 32 != ticket >> 32) return 0;
    if (helper->number >= copy.threads - 1 || !room_for(helper, &copy.work)) return 0;
    int chunk = claim(ticket, copy.chunks);
    if (chunk < 0) return 0;
    int first = chunk * copy.work.at_once, last = ends_at(&copy.work, chunk);
    if (copy.work.whole) {
        compute_whole(helper, &copy, first, last);
        atomic_store(&pool.state[chunk], turn | DONE);
        atomic_fetch_add(&pool.ended, 1);
        if (atomic_load(&pool.waiting)) wake_all(&pool.ended);
        return 1;
    }
    copy.work.compute(copy.job, first, last, helper->apart + copy.work.scratch_size, helper->apart);
    if (!atomic_compare_exchange_strong(&pool.state[chunk], &open, turn | HANDED_OVER)) return 1;
    hand_over(&copy.work, first, last, helper->apart + copy.work.scratch_size);
    atomic_store(&pool.state[chunk], turn | DONE);
    return 1;
}

static int is_open(void) { return (uint32_t)atomic_load(&pool.ticket) < MOST_CHUNKS; }

static void sleep_until_work(void) {
    unsigned bell = atomic_load(&pool.bell);
    atomic_fetch_add(&pool.asleep, 1);
    if (!is_open()) sleep_while(&pool.bell, bell);
    atomic_fetch_sub(&pool.asleep, 1);
}

static void *serve(void *argument) {
    ch_helper *helper = argument;
    for (double since = seconds();;) {
        if (is_open() && core_of_this() == atomic_load(&pool.core)) leave_core(atomic_load(&pool.core));
        atomic_fetch_add(&helper->turns, 1);
        int helped = help(helper);
        atomic_fetch_add(&helper->turns, 1);
        if (helped) {
            since = seconds();
            continue;
        }
        for (int k = 0; k < 64 && !is_open(); k++) pause_briefly();
        if (!is_open() && seconds() - since > SPIN) {
            sleep_until_work();
            since = seconds();
        }
    }
    return NULL;
}

/* -------------------------------------------------------------------------------------------------------------------- callers */

static void forget_threads(void) { /* in a child after a fork */
    atomic_store(&pool.busy, 0);
    atomic_store(&pool.started, 0);
    atomic_store(&pool.asleep, 0);
    atomic_store(&pool.waiting, 0);
    atomic_store(&pool.ticket, atomic_load(&pool.ticket) | CLOSED);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.rung, NULL);
    for (int k = 0; k < MOST_THREADS; k++) atomic_store(&pool.helpers[k].turns, 0);
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, forget_threads); }

/* Starts threads up to the number wanted, which take no signals. */
static void start(int threads) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int wanted = threads - 1 < MOST_THREADS ? threads - 1 : MOST_THREADS, number = atomic_load(&pool.started);
    if (number >= wanted) return;
    pthread_once(&once, watch_forks);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; number < wanted; number++) {
        ch_helper *helper = &pool.helpers[number];
        helper->number = number;
        if (pthread_create(&helper->thread, NULL, serve, helper)) break;
        pthread_detach(helper->thread);
        atomic_store(&pool.started, number + 1);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static uint_fast64_t open_work(const ch_work_shared *work, unsigned chunks, int threads) {
    uint_fast64_t turn = ((atomic_load(&pool.ticket) >> 32) + 1) << 32;
    atomic_store(&pool.ticket, turn | CLOSED);
    pool.job.work = *work;
    memcpy(pool.job.job, work->job, work->job_size);
    pool.job.chunks = chunks;
    pool.job.threads = threads;
    for (unsigned k = 0; k < chunks; k++) atomic_store_explicit(&pool.state[k], turn | OPEN, memory_order_relaxed);
    atomic_store(&pool.core, core_of_this());
    atomic_store(&pool.ticket, turn);
    atomic_fetch_add(&pool.bell, 1);
    if (atomic_load(&pool.asleep)) wake_all(&pool.bell);
    return turn;
}

/* Waits for a chunk that another thread claimed; takes it back where that takes longer than `patience`, and says so. */
static int finish_chunk(const ch_work_shared *work, uint_fast64_t turn, int chunk, double patience) {
    double since = seconds();
    for (int spins = 0; atomic_load(&pool.state[chunk]) != (turn | DONE); spins++) {
        uint_fast64_t open = turn | OPEN;
        pause_briefly();
        if (spins % 16 || seconds() - since < patience) continue;
        if (atomic_compare_exchange_strong(&pool.state[chunk], &open, turn | TAKEN)) {
            work->compute(work->job, chunk * work->at_once, ends_at(work, chunk), NULL, work->scratch);
            return 1;
        }
        if (open != (turn | DONE)) sched_yield(); /* it is being handed over */
    }
    return 0;
}

/* Whether the caller shall go on alone: a core that was busy is likely to be so for a while. */
static void learn(int late, double now) {
    if (!late) {
        pool.pause = 0.75 * pool.pause > SHORT_PAUSE ? 0.75 * pool.pause : SHORT_PAUSE;
        return;
    }
    pool.alone_until = now + pool.pause;
    pool.pause = 2 * pool.pause < LONG_PAUSE ? 2 * pool.pause : LONG_PAUSE;
}

void ch_share(const ch_work_shared *work, int threads) {
    int chunks = (work->units + work->at_once - 1) / work->at_once, free_pool = 0;
    if (chunks < 2 || chunks > MOST_CHUNKS || work->job_size > CH_JOB || threads < 2 ||
        !atomic_compare_exchange_strong(&pool.busy, &free_pool, 1)) {
        work->compute(work->job, 0, work->units, NULL, work->scratch);
        return;
    }
    double patience = 1e-3, before = seconds(), now;
    if (before < pool.alone_until) {
        atomic_store(&pool.busy, 0);
        work->compute(work->job, 0, work->units, NULL, work->scratch);
        return;
    }
    start(threads);
    uint_fast64_t turn = open_work(work, (unsigned)chunks, threads);
    int chunk, late = 0;
    while ((chunk = claim(atomic_load(&pool.ticket), (unsigned)chunks)) >= 0) {
        work->compute(work->job, chunk * work->at_once, ends_at(work, chunk), NULL, work->scratch);
        atomic_store(&pool.state[chunk], turn | DONE);
        now = seconds();
        patience = 2 * (now - before) < patience ? 2 * (now - before) : patience; /* of the fastest: this thread may wait too */
        before = now;
    }
    if (patience < LEAST_PATIENCE) patience = LEAST_PATIENCE;
    for (chunk = 0; chunk < chunks; chunk++)
        if (atomic_load(&pool.state[chunk]) != (turn | DONE)) late += finish_chunk(work, turn, chunk, patience);
    atomic_store(&pool.ticket, turn | CLOSED);
    learn(late, before);
    atomic_store(&pool.busy, 0);
}

static int all_done(uint_fast64_t turn, int chunks) {
    for (int chunk = 0; chunk < chunks; chunk++)
        if (atomic_load(&pool.state[chunk]) != (turn | DONE)) return 0;
    return 1;
}

/* Waits for chunks that others have begun: awake for a short while, then asleep. */
static void wait_for_others(uint_fast64_t turn, int chunks) {
    for (double since = seconds();;) {
        unsigned ended = atomic_load(&pool.ended);
        if (all_done(turn, chunks)) return;
        for (int k = 0; k < 64 && atomic_load(&pool.ended) == ended; k++) pause_briefly();
        if (seconds() - since < SPIN) continue;
        atomic_store(&pool.waiting, 1);
        sleep_while(&pool.ended, ended);
        atomic_store(&pool.waiting, 0);
    }
}

void ch_together(void (*compute)(const void *job, int first, int last, float *apart, float *scratch), const void *job,
                 size_t job_size, int count) {
    ch_work_shared work = {.compute = compute, .job = job, .job_size = job_size, .units = count, .at_once = 1, .whole = 1};
    int chunk, free_pool = 0;
    if (count < 2 || count > MOST_CHUNKS || job_size > CH_JOB || !atomic_compare_exchange_strong(&pool.busy, &free_pool, 1)) {
        compute(job, 0, count, NULL, NULL);
        return;
    }
    start(count);
    uint_fast64_t turn = open_work(&work, (unsigned)count, count);
    while ((chunk = claim(atomic_load(&pool.ticket), (unsigned)count)) >= 0) {
        compute(job, chunk, chunk + 1, NULL, NULL);
        atomic_store(&pool.state[chunk], turn | DONE);
    }
    wait_for_others(turn, count);
    atomic_store(&pool.ticket, turn | CLOSED);
    atomic_store(&pool.busy, 0);
}

void ch_settle(void) {
    int started = atomic_load(&pool.started);
    for (int k = 0; k < started; k++) {
        unsigned turns = atomic_load(&pool.helpers[k].turns);
        for (int spins = 0; turns % 2 && atomic_load(&pool.helpers[k].turns) == turns; spins++) {
            if (spins < 1000) pause_briefly();
            else sched_yield();
        }
    }
}
