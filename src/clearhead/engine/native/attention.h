/* Attention of queries over cached keys and values: a part of kernels.c. */
#ifndef ATTENTION_H
#define ATTENTION_H

#include "elementwise.h"

INLINE size_t place_of(const ch_attention *a, int position) {
    size_t slot = a->slots ? (size_t)a->slots[position] * a->slot_stride : 0;
    return slot + (size_t)position * a->position_stride;
}

/* Scores of one head's query with all keys, four keys at a time; what is beyond the last key is written over later. */
static void score(const ch_attention *a, const float *q, const float *keys, float *scores) {
    for (int from = 0; from < a->length; from += 4) {
        const float *key[4];
        vf sums[4];
        for (int k = 0; k < 4; k++) {
            key[k] = keys + place_of(a, from + k < a->length ? from + k : a->length - 1);
            sums[k] = vf_set(0.0f);
        }
        for (int i = 0; i < a->head; i += LANES) {
            vf part = vf_load(q + i);
            for (int k = 0; k < 4; k++) sums[k] = vf_fma(part, vf_load(key[k] + i), sums[k]);
        }
        vf_sums(scores + from, sums);
    }
}

/* The weighted sum of `width` features of the values, a constant number of vectors in registers. */
INLINE void mix(const ch_attention *a, const float *weights, const float *values, float share, float *y, const int width) {
    vf sums[width / LANES];
#pragma GCC unroll 16
    for (int k = 0; k < width / LANES; k++) sums[k] = vf_set(0.0f);
    for (int p = 0; p < a->length; p++) {
        const float *value = values + place_of(a, p);
        vf weight = vf_set(weights[p]);
#pragma GCC unroll 16
        for (int k = 0; k < width / LANES; k++) sums[k] = vf_fma(weight, vf_load(value + k * LANES), sums[k]);
    }
#pragma GCC unroll 16
    for (int k = 0; k < width / LANES; k++) vf_store(y + k * LANES, vf_mul(sums[k], vf_set(share)));
}

static void penalize(const ch_attention *a, int head, float *scores) { /* ALiBi, see nn/position.py */
    for (int p = 0; p < a->length; p++) {
        int back = a->position - p;
        scores[p] -= back >= 0 ? a->left[head] * (float)back : a->right[head] * (float)-back;
    }
}

static void attend(const ch_attention *a, const float *q, float *y, float *scores) {
    for (int head = 0; head < a->heads; head++, q += a->head, y += a->head) {
        size_t at = (size_t)(head / a->sharing) * a->head_stride;
        score(a, q, a->keys + at, scores);
        for (int p = 0; p < a->length; p++) scores[p] *= a->scale;
        if (a->left) penalize(a, head, scores);
        float share = 1.0f / exp_all(scores, a->length);
        int i = 0;
        for (; i + 8 * LANES <= a->head; i += 8 * LANES) mix(a, scores, a->values + at + i, share, y + i, 8 * LANES);
        for (; i < a->head; i += CH_PANEL) mix(a, scores, a->values + at + i, share, y + i, CH_PANEL);
    }
}

#endif
