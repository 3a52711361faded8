/* What is compiled once per instruction set: a table of functions. Everything else is compiled once. */
#ifndef KERNELS_H
#define KERNELS_H

#include "clearhead.h"

/* y = then(x w + bias) + residual for some rows. */
typedef struct {
    const ch_linear *w;
    const float *x;          /* [rows][x_stride], for float32 weights */
    const uint8_t *bytes;    /* [rows][w->inputs], for int8 weights: what `quantize` made of x; for int4 `round_groups` */
    const float *byte_scale; /* [rows], of the bytes */
    float *y;                /* [rows][y_stride] */
    const float *residual;   /* as y, or NULL; may be y itself */
    int rows, x_stride, y_stride, then;
    const int32_t *offsets;  /* [rows][groups], for int4 weights, of `round_groups` */
} ch_product;

/* Queries of all heads, or of some, over cached keys and values. The key of head h at position p stands at
 * keys + slots[p] * slot_stride + p * position_stride + h * head_stride; without slots, slots[p] is 0. */
typedef struct {
    const float *keys, *values;
    const int32_t *slots;
    size_t slot_stride, position_stride, head_stride;
    int heads, sharing;      /* heads of queries; how many of them share a head of keys */
    int head;                /* padded features of a head */
    int length;              /* keys */
    int position;            /* of the query, for left and right */
    const float *left, *right;
    float scale;
    /* The query that follows another one is a position further and has `growth` keys more: 1 in a decoder, else 0. */
    int queries, growth;
    int first_head;          /* heads before it are left out */
    size_t q_stride, y_stride; /* from a query to the next */
    /* Of `attend_bytes`, which takes one query, in the place of keys and values: in slots, and with a scale for each
     * `head` of them. */
    const int8_t *key_bytes, *value_bytes;
    const float *key_scales, *value_scales;
} ch_attention;

/* Floats that `attend` needs for scores over so many keys. */
#define CH_SCORES(length) (4 * ((size_t)(length) + 48))

typedef struct {
    const char *name;
    void (*product)(const ch_product *job, int first_panel, int last_panel);
    /* Rounds a row to 8 bits by a scale of its own; returns the scale. */
    float (*quantize)(const float *x, int n, uint8_t *bytes);
    void (*normalize)(const ch_norm *norm, const float *x, int n, int padded, float *y);
    void (*unit_rms)(float *x, int n); /* divides by the root mean square */
    /* `scores` has room for CH_SCORES of the most keys that a query has. */
    void (*attend)(const ch_attention *a, const float *q, float *y, float *scores);
    /* y[i] = act(x[i]) * x[n + i] */
    void (*gate)(int activation, float *x, int n, float *y);
    void (*softmax)(float *x, int n); /* x has room up to a multiple of 16, which is lost */
    float (*log_sum_exp)(const float *x, int n);
    /* The `count` largest of x, largest first, of equals the first; -1 where there are fewer above -inf. */
    void (*top)(const float *x, int n, int count, float *values, int32_t *ids);
    /* As `quantize`, but signed for every set of instructions, and with zeros up to whole groups of CH_GROUP. Offsets
     * [groups] are what the 8 that is added to each int4 weight adds to the product with the group. */
    float (*round_groups)(const float *x, int n, int8_t *bytes, int32_t *offsets);
    float (*round_signed)(const float *x, int n, int8_t *bytes); /* the same without groups */
    void (*attend_bytes)(const ch_attention *a, const float *q, float *y, float *scores);
} ch_kernels;

CH_PUBLIC const ch_kernels *ch_kernels_of(const char *instructions); /* NULL: not here, see ch_error */

extern const ch_kernels ch_kernels_portable, ch_kernels_avx2, ch_kernels_avx512, ch_kernels_neon;

#endif
