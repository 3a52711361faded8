/* What search.c and prompts.c share: sources that are being searched for, or prompts that are being continued. */
#ifndef SEARCH_H
#define SEARCH_H

#include "finished.h"
#include "rows.h"
#include "sample.h"

typedef struct {
    float score;    /* of the hypothesis with this piece */
    float log_prob; /* of the piece */
    int32_t piece;
    int parent;     /* beam that it goes on from */
} ch_candidate;

/* A source that is being translated. */
typedef struct {
    int number, limit;       /* which source, and most pieces */
    const int32_t *prefix;
    int prefix_length;
    float *scores;           /* [beam], best first; -inf where a beam is not in use */
    int32_t *ids;            /* [beam][limit] */
    float *log_probs;        /* [beam][limit] */
    const int32_t *prompt;   /* of a model without an encoder: what is continued; else NULL */
    int prompt_length, begin;/* pieces of it; those of them that are no end marks */
    int32_t *text;           /* [begin + limit], these and what a beam has written */
    int *states;             /* [beam], of the character that the last piece left unfinished; 0: none */
    ch_pool pool;            /* of finished hypotheses */
} ch_source;

/* One thread's share of the sources. */
typedef struct {
    const ch_kernels *kernels;
    const ch_search *search;
    const ch_found *found;
    ch_rows *rows;
    ch_sampler *sampler;     /* NULL without a drawing */
    ch_source *sources;      /* the `count` that are not over come first */
    int count, length, vocab, width, stride;
    float *logits;           /* [rows][stride] */
    float *values;           /* [width] */
    int32_t *pieces;         /* [width] */
    ch_candidate *candidates;/* [beam * width] */
    int32_t *kept, *next, *ones; /* [rows] */
    int32_t *ids;            /* [beam][longest limit], scratch */
    float *log_probs;
    int *states;             /* [beam], scratch */
} ch_share;

/* Prompts of a model without an encoder; see prompts.c. */
int ch_make_prompt(ch_share *share, ch_source *source);  /* after the source's fields are set */
int ch_advance_texts(ch_share *share);                   /* the logits of all rows, windows sliding where they are full */
int ch_adjust_beam(ch_share *share, ch_source *source, int beam, int row, float *logits);

#endif
