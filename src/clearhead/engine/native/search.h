/* Sources that are being searched for, or prompts that are being continued: what search.c, prompts.c, batch.c and those who drive
 * them (translate.c, running.c) share. */
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
    int missing;    /* pieces of required phrases, after it */
    int turn;       /* its number, from 1, among those that miss as many */
    int place;      /* where it was listed */
} ch_candidate;

/* A source that is being translated, or a prompt. All that a search needs to know of it is its own: when it came, how
 * many pieces its hypotheses have, and how it is searched for. */
typedef struct ch_source {
    ch_asked asked;
    int64_t number;          /* of whoever drives the search: its place, or its ticket */
    int length;              /* pieces of its hypotheses */
    int rows;                /* in its batch: 0 when it comes, 1 in its first step, then `beam` */
    int width;               /* pieces of a row that are looked at, beside those that phrases need */
    float *scores;           /* [beam], best first unless phrases are required; -inf where a beam is not in use */
    int32_t *ids;            /* [beam][limit] */
    float *log_probs;        /* [beam][limit] */
    int32_t *text;           /* of a prompt: [begin + limit], what penalties see of it, and of what a beam has written */
    int begin;               /* pieces of the prompt that are no end marks */
    int *states;             /* [beam], of the character that the last piece left unfinished; 0: none */
    int32_t *progress;       /* [beam][phrases], the state of each */
    ch_pool pool;            /* of finished hypotheses */
    int gone;                /* it left: its rows go before the next step */
    char *failed;            /* why nothing was found */
    struct ch_source *next;  /* among those that are over */
} ch_source;

/* Sources whose rows are computed together, by one thread. */
typedef struct {
    const ch_model *model;
    const char *instructions;
    int threads;             /* that share a product, where that pays */
    const ch_kernels *kernels;
    ch_rows *rows;
    ch_sampler *sampler;     /* for penalties; NULL until a source has some */
    ch_source **sources;     /* in the order of their rows */
    int count, places;
    ch_source *over;         /* the first of those that are over; whoever drives the search takes them */
    int row_room, beam_room, fed_room; /* what the following have room for */
    size_t piece_room, candidate_room, progress_room;
    float *logits;           /* [rows][padded vocab] */
    float *values;           /* [width] */
    int32_t *pieces;         /* [width] */
    ch_candidate *candidates;/* [beam][width + required phrases] */
    int32_t *parents, *kept, *counts; /* [rows] */
    int32_t *fed;            /* pieces that the rows get */
    int32_t *ids;            /* [beam][limit], scratch */
    float *log_probs;
    int *states;             /* [beam], scratch */
    int32_t *progress;       /* [beam][phrases], scratch */
} ch_batch;

int ch_check_asked(const ch_model *model, const ch_asked *asked);
ch_source *ch_source_new(const ch_model *model, const ch_asked *asked, int64_t number); /* `asked` is checked */
void ch_source_free(ch_source *source);
/* Gives every beam its next piece by the logits of the rows from `first_row` on. The rows that these go on from go to
 * `parents`, `beam` of them. */
int ch_extend_source(ch_batch *batch, ch_source *source, int first_row, int32_t *parents);
int ch_is_over(const ch_source *source);
int ch_settled(const ch_source *source, int32_t *ids); /* pieces that what is found will begin with, whatever comes */
int ch_finish_source(ch_source *source);   /* where too few hypotheses are finished, the best live ones go with them */
void ch_write_found(const ch_source *source, const ch_found *found, int place); /* of one that is finished */

void ch_batch_open(ch_batch *batch, const ch_model *model, const char *instructions, int threads);
void ch_batch_close(ch_batch *batch);                      /* sources and all */
void ch_batch_threads(ch_batch *batch, int threads);
int ch_batch_join(ch_batch *batch, ch_source *source);     /* it takes part from the next step on */
int ch_batch_rows(const ch_batch *batch);                  /* that its sources have, or will have */
/* A piece for every row, then what they lead to. Sources that are over are in `over` then, whether they failed or not:
 * the step itself cannot fail. */
void ch_batch_step(ch_batch *batch);

/* Phrases that a translation must and must not contain; see phrases.c. */
int ch_check_phrases(const ch_model *model, const ch_asked *asked);
static inline int ch_phrase_count(const ch_source *source) { return source->asked.required + source->asked.avoided; }
int ch_missing(const ch_source *source, int beam); /* pieces of required phrases */
void ch_ban_avoided(const ch_source *source, int beam, const struct ch_shortlist *list, int count, float *logits);
/* Says of the `width` candidates of a beam what is missing after each, and adds one for each required phrase. */
void ch_add_ways(const ch_source *source, int beam, const struct ch_shortlist *list, const float *logits, float log_z,
                 ch_candidate *out);
int ch_take_turns(const ch_source *source, ch_candidate *all, int n, int most); /* brings the best to the front; how many */
void ch_progress(const ch_source *source, const int32_t *from, int32_t piece, int32_t *to); /* states after a piece */

/* Prompts of a model without an encoder; see prompts.c. */
int ch_make_prompt(ch_source *source);
int ch_feed_count(const ch_batch *batch, const ch_source *source, int row);  /* pieces that a row gets in this step */
void ch_feed_prompt(const ch_source *source, int beam, int count, int32_t *to);
int ch_adjust_beam(ch_batch *batch, ch_source *source, int beam, float *logits);

#endif
