/* The interface of the native engine: a model as sizes and pointers to packed weights, and rows of text that grow by it.
 *
 * Nothing here knows Python or PyTorch. Who calls owns the weights and keeps them while rows of the model live; they may
 * be mapped from a file. Functions that can fail return 0, or -1 with the reason in ch_error().
 *
 * Weights are packed in PANELS of 16 outputs:
 *   float32   weight[outputs / 16][inputs][16]        all 16 weights of an input stand together, one cache line
 *   bfloat16  the same, each the upper half of a float32
 *   int8      weight[outputs / 16][inputs / 4][16][4] 4 inputs of each of 16 outputs, also 64 bytes
 *   int4      weight[outputs / 16][inputs / 32][4][64] by groups of 32 inputs, each 4 lines of 64 bytes of two weights:
 *             byte b of line k has output b / 4 of the panel, input 8 k + b % 4 of the group in its lower half and the
 *             one 4 further in its upper half, both with 8 added; inputs are padded to whole groups
 * Sizes that are no multiple of 16 are padded with zeros, of states, of heads and of weights alike, so that no kernel
 * has a remainder to care for. Only norms, softmax and ranking know the true sizes.
 */
#ifndef CLEARHEAD_H
#define CLEARHEAD_H

#include <stddef.h>
#include <stdint.h>

#define CH_PANEL 16
#define CH_GROUP 32 /* inputs that share a scale in int4 */
#define CH_ABI 6 /* counts changes of what stands in this file */

#if defined(__GNUC__)
#define CH_PUBLIC __attribute__((visibility("default")))
#else
#define CH_PUBLIC
#endif

enum ch_kind { CH_FLOAT32, CH_INT8, CH_BFLOAT16, CH_INT4 };
enum ch_norm_kind { CH_NO_NORM, CH_LAYER_NORM, CH_RMS_NORM };
enum ch_activation { CH_NONE, CH_RELU, CH_GELU, CH_GELU_TANH, CH_SILU, CH_SIGMOID, CH_TANH, CH_SOFTMAX };

/* y = x weight + bias, both sizes multiples of CH_PANEL */
typedef struct {
    const void *weight;   /* packed; NULL: the layer has no such part */
    const float *bias;    /* [outputs] or NULL */
    const float *scale;   /* int8: [outputs], of each output's weights; int4: bfloat16 [outputs / 16][groups][16] */
    const int32_t *sums;  /* int8: [outputs / 16][2][16], sum of each output's weights, and of the sizes of its negative
                           * ones: what kernels whose bytes have no sign take away or add in the end */
    int32_t inputs, outputs, kind, reserved;
} ch_linear;

typedef struct {
    const float *gain, *bias; /* [d_model] each; bias may be NULL */
    float eps;
    int32_t kind;
} ch_norm;

/* A layer of any stack. Pre-norm layers have the norms `attn`, `cross`, `mlp`; post-norm ones those that end in _post. */
typedef struct {
    ch_norm attn, attn_post, cross, cross_post, mlp, mlp_post;
    ch_linear qkv;       /* queries of all heads, then keys, then values, each head padded to `head` */
    ch_linear attn_out;
    ch_linear cross_q, cross_kv, cross_out; /* of decoders that read a memory */
    ch_linear up;        /* gated: the gate, then up */
    ch_linear down;
} ch_layer;

typedef struct {
    int32_t d_model, width;           /* features of a state, true and padded */
    int32_t d_ff, inner;              /* features inside the feed-forward network, true and padded */
    int32_t heads, kv_heads;          /* of queries; of keys and values */
    int32_t head_dim, head;           /* features of a head, true and padded */
    int32_t vocab, src_vocab, max_len;
    int32_t encoder_layers, decoder_layers;
    int32_t activation, gated, residual;
    int32_t unit_heads;               /* whether queries and keys are divided by their root mean square */
    int32_t src_panels, tgt_panels;   /* whether a table is the packed weight of the output layer, of its kind */
    float embedding_scale;
    int32_t cache;                    /* how rows hold keys and values: CH_FLOAT32, or CH_INT8 */
    const ch_layer *encoder, *decoder;
    ch_norm encoder_norm, decoder_norm;
    ch_linear lm_head;
    const float *src_table, *tgt_table;         /* [vocab][width]; not read where it is the packed output layer */
    const float *src_positions, *tgt_positions; /* [max_len][width], or NULL: nothing is added */
    const float *cos, *sin;                     /* [max_len][head_dim] of rotary positions, or NULL */
    const float *left, *right;                  /* [heads]: penalties a position of distance (ALiBi), or NULL */
    const float *segments;                      /* [segment_count][width] that the encoder's input adds, or NULL */
    ch_norm embedding_norm;                     /* of the encoder's input */
    /* Before lm_head in an encoder without a decoder: head_norm(head_activation(state transform)), with what there is. */
    ch_linear transform;
    ch_norm head_norm;
    int32_t head_activation, segment_count;
} ch_model;

typedef struct ch_rows ch_rows;

CH_PUBLIC const char *ch_error(void);                 /* why the last call of this thread failed */
CH_PUBLIC void ch_layout(int32_t sizes[7]); /* CH_ABI, and sizes of ch_linear, ch_layer, ch_model, ch_search, ch_asked, ch_phrase */
CH_PUBLIC int ch_has(const char *instructions);       /* whether this library and machine have them: portable, avx2 ... */

/* Rows: each is a text, with its keys and values in a cache. `instructions` says which kernels compute. */
CH_PUBLIC ch_rows *ch_rows_new(const ch_model *model, const char *instructions, int threads);
CH_PUBLIC void ch_rows_free(ch_rows *rows);
CH_PUBLIC int ch_rows_count(const ch_rows *rows);
CH_PUBLIC int ch_rows_length(const ch_rows *rows, int row); /* pieces of a row in the cache */

/* Adds `copies` rows for each source: ids[lengths[0] + lengths[1] + ...]; a model without an encoder takes none. */
CH_PUBLIC int ch_join_sources(ch_rows *rows, const int32_t *ids, const int32_t *lengths, int sources, int copies);
CH_PUBLIC int ch_join_empty(ch_rows *rows, int count); /* adds rows without a source, for decoder-only models */

/* Appends counts[row] pieces to each row, ids[counts[0] + counts[1] + ...]. Writes logits, [..][padded vocab], of what
 * follows each piece (`all`), or the last piece of each row that got one. */
CH_PUBLIC int ch_extend(ch_rows *rows, const int32_t *ids, const int32_t *counts, int all, float *logits);
CH_PUBLIC int ch_back(ch_rows *rows, const int32_t *counts); /* takes the last counts[row] pieces of each row back */

/* Row i goes on from what row kept[i] held; a row may be kept twice, and one that is not kept is gone. */
CH_PUBLIC int ch_keep(ch_rows *rows, const int32_t *kept, int count);

/* How a source is translated, or a prompt continued, by greedy or beam search, without a caller between the steps; see
 * decode/search.py. What it points to must stay until the sources are over that are searched for by it. */
typedef struct {
    int32_t beam, n_best;       /* hypotheses kept, and returned: at most `beam` */
    int32_t bos, eos;           /* the begin mark is not read for prompts */
    int32_t at_least;           /* the end mark does not come before so many pieces */
    int32_t forbidden_count;
    int32_t never_first_count;
    int32_t states, rooms, reserved;
    const int32_t *forbidden;   /* pieces that never come */
    /* Whole characters, see text/characters.py; after is NULL where every piece is of whole ones. State 0 is between
     * characters; `rooms` counts how many pieces may come after a piece, up to where more make no difference. */
    const int32_t *after;       /* [states][vocab], the state after a piece */
    const uint8_t *allowed;     /* [rooms][states][vocab], whether a piece may follow */
    const int32_t *never_first; /* pieces that may not follow state 0 whatever the room */
    double length_penalty;
    /* With n_best above 1: gives pieces without an end mark a number, equal ones where they read alike; below 0: it
     * failed. Called by any thread. NULL: no two hypotheses read alike. */
    int64_t (*text_of)(const int32_t *ids, int32_t length);
    const struct ch_drawing *drawing; /* penalties and bans (sample.h), of models without an encoder, or NULL */
} ch_search;

/* Finds a phrase, or any of several, in pieces; see text/phrase.py. It begins in state 0. */
typedef struct {
    const int32_t *steps;  /* [states][kinds], the state after a piece of each kind */
    const int32_t *kind;   /* [vocab], the kind of each piece */
    const int32_t *left;   /* [states], fewest pieces that complete a phrase; 0: one has occurred if the text ends here */
    const int32_t *ways;   /* the pieces that bring its end nearer, those of each state one after another, none if it is avoided */
    const int32_t *begins; /* [states + 1], which begin there */
    int32_t states, kinds;
} ch_phrase;

/* A source to translate; for a model without an encoder a prompt to continue. */
typedef struct {
    const ch_search *search;
    const int32_t *ids, *prefix;    /* the prefix: what translations begin with */
    /* The pieces that may translate the source, ascending; NULL: all may. Log-probabilities are over them; see
     * shortlist.h. */
    const int32_t *shortlist;
    int32_t length, prefix_length;  /* pieces of each; a source has 1 at least */
    int32_t limit, shortlist_length;/* most pieces that are written, end mark included; at least 1 */
    /* What a translation must contain, which takes a beam of 2, and then what it must not, at most one; see phrases.c. */
    const ch_phrase *const *phrases;
    int32_t required, avoided;
} ch_asked;

/* The best hypotheses of each source, best first. */
typedef struct {
    int32_t stride;     /* at least the largest limit */
    int32_t n_best;     /* at least the largest one that is asked for */
    int32_t *ids;       /* [sources][n_best][stride], without the end mark */
    float *log_probs;   /* [sources][n_best][stride], with that of the end mark */
    int32_t *lengths;   /* [sources][n_best], pieces without the end mark; -1: there is no further hypothesis */
    int32_t *complete;  /* [sources][n_best], whether the end mark came */
    int32_t *cut_better;/* [sources][n_best], whether the limit cut off another one with a better rank score */
} ch_found;

/* Searches for all of them, in the calling thread and threads of its own. */
CH_PUBLIC int ch_translate(const ch_model *model, const char *instructions, int threads, const ch_asked *asked,
                           int sources, const ch_found *found);

/* Searches that sources join and leave between any two steps; see running.c. One thread may use it at a time. A source has
 * a ticket, a number above 0. What `asked` points to must stay until its ticket is taken or has left. */
typedef struct ch_searches ch_searches;
CH_PUBLIC ch_searches *ch_searches_new(const ch_model *model, const char *instructions, int threads);
CH_PUBLIC void ch_searches_free(ch_searches *searches);
CH_PUBLIC int ch_searches_rows(const ch_searches *searches); /* of the sources that are not over */
CH_PUBLIC int ch_searches_join(ch_searches *searches, const ch_asked *asked, int sources, int64_t *tickets);
/* Up to so many steps of every source. Writes the tickets of those that are over, `most` at the most, and returns how
 * many; tickets that are not taken come again. */
CH_PUBLIC int ch_searches_step(ch_searches *searches, int steps, int threads, int64_t *over, int most);
/* What was found for one that is over, which is gone then; -1 with the reason where its search failed. */
CH_PUBLIC int ch_searches_take(ch_searches *searches, int64_t ticket, const ch_found *found);
CH_PUBLIC int ch_searches_leave(ch_searches *searches, int64_t ticket); /* at any time, over or not */
/* Writes the pieces that the best hypothesis of a ticket that is not over will begin with, whatever comes, [limit];
 * returns how many these are. */
CH_PUBLIC int ch_searches_settled(const ch_searches *searches, int64_t ticket, int32_t *ids);

/* Final states [lengths[0] + lengths[1] + ...][width] of the encoder for texts that stand one after another, each of
 * which attends to itself alone; see texts.c. `segments` has a number for each piece, or is NULL: all are 0. */
CH_PUBLIC int ch_encode_texts(const ch_model *model, const char *instructions, int threads, const int32_t *ids,
                              const int32_t *segments, const int32_t *lengths, int texts, float *states);

/* What the head of an encoder without a decoder makes of states [count][width]: logits [count][padded vocab]. */
CH_PUBLIC int ch_head_logits(const ch_model *model, const char *instructions, int threads, const float *states, int count,
                             float *logits);

/* The states of the encoder of one source, [length][width], for tests. */
CH_PUBLIC int ch_encode(ch_rows *rows, const int32_t *ids, int length, float *states);

#endif
