/* Threads of one call, each of which claims the next part of the work until there is none. They are its own, and not those
 * of the pool: a call may take seconds, in which others need the pool. */
#include "deal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

struct ch_parts {
    int (*work)(void *job, ch_parts *parts);
    void *job;
    int count;
    atomic_int next, failed;
    char reason[256];
};

int ch_unclaimed(const ch_parts *parts) {
    int next = atomic_load(&parts->next);
    return next < parts->count && !atomic_load(&parts->failed) ? parts->count - next : 0;
}

int ch_claim(ch_parts *parts) {
    if (!ch_unclaimed(parts)) return -1;
    int part = atomic_fetch_add(&parts->next, 1);
    return part < parts->count ? part : -1;
}

static void *run(void *argument) {
    ch_parts *parts = argument;
    if (parts->work(parts->job, parts) && !atomic_exchange(&parts->failed, 1))
        strncpy(parts->reason, ch_error(), sizeof parts->reason - 1);
    return NULL;
}

int ch_deal(int count, int threads, int (*work)(void *job, ch_parts *parts), void *job) {
    int wanted = threads < count ? threads : count, started = 0;
    ch_parts parts = {work, job, count, 0, 0, ""};
    pthread_t *others = malloc((wanted > 1 ? wanted : 1) * sizeof *others);
    if (!others) return ch_fail("no memory for %d threads", wanted);
    while (started < wanted - 1 && !pthread_create(&others[started], NULL, run, &parts)) started++;
    run(&parts);
    for (int k = 0; k < started; k++) pthread_join(others[k], NULL);
    free(others);
    return atomic_load(&parts.failed) ? ch_fail("%s", parts.reason) : 0;
}
