/* The finished hypotheses of one source, as _Pool of decode/search.py ranks them. */
#ifndef FINISHED_H
#define FINISHED_H

#include "clearhead.h"

typedef struct {
    double rank_score;
    int64_t text;    /* equal for hypotheses that read alike; -1: like no other */
    int32_t length;  /* pieces without the end mark */
    int32_t complete, cut_better;
    int32_t *ids;    /* [limit] */
    float *log_probs;/* [limit], with that of the end mark */
} ch_finished;

/* Complete ones first, then best first: `size` of them at the most, and one more place for what comes in. */
typedef struct {
    int size, count;
    ch_finished *ranked;
    void *block;     /* ids and log-probabilities of all places */
} ch_pool;

int ch_pool_make(ch_pool *pool, int size, int limit);
void ch_pool_free(ch_pool *pool);

/* The place to write the next hypothesis to; `ch_pool_add` then ranks it. */
ch_finished *ch_pool_next(ch_pool *pool);

/* Takes in what stands in the next place. Of those that read alike the best stays; incomplete ones must come as they
 * stand in the beam. */
void ch_pool_add(ch_pool *pool);

#endif
