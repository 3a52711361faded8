/* How the next piece of a text is drawn: the interface, and what adjust.c and sample.c share. See decode/sampler.py. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include "kernels.h"

/* Penalties, bans and filters; what is off is 0, 1 for shares and the repetition penalty, or NULL. */
typedef struct ch_drawing {
    double temperature, top_p, min_p, typical_p; /* temperature 0: the best piece, of equal ones the first */
    float repetition, presence, frequency, reserved;
    int32_t top_k, no_repeat_ngram;
    int32_t eos, at_least;       /* no end mark comes before so many generated pieces */
    int32_t limit;               /* most generated pieces, for whole characters */
    int32_t forbidden_count, ends_count, never_first_count, avoided_states, states, rooms, biased_count;
    const int32_t *forbidden;    /* pieces that never come */
    const int32_t *ends;         /* further end marks */
    const int32_t *avoided;      /* [avoided_states][vocab], phrases that never come: the state after a piece */
    const uint8_t *avoided_done; /* [avoided_states], whether a phrase has occurred */
    const int32_t *after;        /* whole characters: as in ch_search */
    const uint8_t *allowed;
    const int32_t *never_first;
    const int32_t *biased;       /* pieces whose logits are changed; one that stands twice is changed twice */
    const float *bias;           /* what is added to each of them */
} ch_drawing;

/* Scratch memory to draw by; one thread may use it at a time. */
typedef struct ch_sampler ch_sampler;

/* A text that gets a piece, by its own drawing. */
typedef struct {
    const ch_drawing *drawing;
    const int32_t *ids;     /* its pieces so far: first those of its prompt, then what was generated */
    double number;          /* in [0, 1), decides which piece is drawn */
    int32_t length, prompt; /* pieces; how many of them are the prompt's */
} ch_written;

CH_PUBLIC void ch_sizes_of_drawing(int32_t sizes[2]); /* of ch_drawing and ch_written */
CH_PUBLIC int ch_check_drawing(const ch_drawing *drawing, int vocab); /* whether its pieces are in the vocabulary */
CH_PUBLIC ch_sampler *ch_sampler_new(const char *instructions, int vocab);
CH_PUBLIC void ch_sampler_free(ch_sampler *sampler);

/* Draws the next piece of each text, and gives its log-probability by the logits as they came. logits[text * stride], with
 * columns beyond the vocabulary that are not read. Returns how many pieces were drawn: where fewer than there are texts,
 * ch_error() says why the next one has none. */
CH_PUBLIC int ch_sample(ch_sampler *sampler, const float *logits, int stride, const ch_written *texts, int count,
                        int32_t *pieces, float *log_probs);

/* The `count` best pieces by the logits of one text as they came, best first, with their log-probabilities. */
CH_PUBLIC void ch_best(const ch_sampler *sampler, const float *logits, int count, int32_t *pieces, float *log_probs);

/* Numbers in [0, 1), each a function of seed, sample, position and stream alone: numpy's Philox4x64-10. */
CH_PUBLIC void ch_uniforms(const uint64_t *seeds, const int64_t *samples, const int64_t *positions, uint64_t stream,
                           int count, double *uniforms);

struct ch_sampler {
    const ch_drawing *drawing; /* of the row at hand */
    const ch_kernels *kernels;
    int vocab;
    float *logits;     /* [vocab], of the row at hand, adjusted */
    int32_t *counts;   /* [vocab], all 0 between uses */
    double *scores;    /* [vocab], of the pieces that may be drawn */
    double *shares;    /* [vocab] */
    int32_t *ids;      /* [vocab], which pieces these are, in order */
    int32_t *heap;     /* [vocab] */
    uint8_t *kept;     /* [vocab] */
};

/* Changes logits by the drawing, and by what the text holds: `length` pieces, `prompt` of them a prompt's. */
int ch_adjust(ch_sampler *sampler, float *logits, const int32_t *ids, int length, int prompt);

/* Takes out the pieces that would make half a character, as decode/whole.py does; where that leaves none, none. The
 * logits are those of `pieces`, or with NULL of the whole vocabulary. */
void ch_keep_whole(const int32_t *never_first, int never_first_count, const uint8_t *allowed, int states, int rooms,
                   int vocab, int state, int room, const int32_t *pieces, int count, float *logits);

#endif
