/* The finished hypotheses of one source, ranked as they come. */
#include "finished.h"

#include <stdlib.h>
#include <string.h>

int ch_pool_make(ch_pool *pool, int size, int limit) {
    size_t places = (size_t)size + 1, each = (size_t)limit * (sizeof(int32_t) + sizeof(float));
    *pool = (ch_pool){.size = size};
    pool->ranked = calloc(places, sizeof *pool->ranked);
    char *block = pool->block = malloc(places * each);
    if (!pool->ranked || !block) return -1;
    for (size_t k = 0; k < places; k++, block += each) {
        pool->ranked[k].ids = (int32_t *)block;
        pool->ranked[k].log_probs = (float *)(block + (size_t)limit * sizeof(int32_t));
    }
    return 0;
}

void ch_pool_free(ch_pool *pool) {
    free(pool->ranked);
    free(pool->block);
}

ch_finished *ch_pool_next(ch_pool *pool) { return &pool->ranked[pool->count]; }

/* Whether one ranks before another that came later, or beside it. */
static int not_after(const ch_finished *one, const ch_finished *other) {
    if (one->complete != other->complete) return one->complete;
    return !one->complete || one->rank_score >= other->rank_score;
}

/* Moves a hypothesis to another place; those between move up or down by one. */
static void move(ch_pool *pool, int from, int to) {
    ch_finished moved = pool->ranked[from], *at = pool->ranked;
    if (from < to) memmove(at + from, at + from + 1, (to - from) * sizeof moved);
    else memmove(at + to + 1, at + to, (from - to) * sizeof moved);
    at[to] = moved;
}

void ch_pool_add(ch_pool *pool) {
    ch_finished *all = pool->ranked;
    int alike = 0, place = 0, last = pool->count;
    while (alike < last && (all[last].text < 0 || all[alike].text != all[last].text)) alike++;
    if (alike < last) {
        if (not_after(&all[alike], &all[last])) return;
        move(pool, alike, last); /* the one that goes comes to the end, behind the one that came in */
        last--;
    }
    while (place < last && not_after(&all[place], &all[last])) place++;
    move(pool, last, place);
    pool->count = last + 1 < pool->size ? last + 1 : pool->size;
}
