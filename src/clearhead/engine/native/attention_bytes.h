/* Attention over keys and values of 8 bits, with a scale for each head's at each position: a part of kernels.c.
 *
 * Queries, scores and sums are float32: a byte is widened where it is read, so that a long past is a quarter of the memory
 * to read, and nothing but keys and values is rounded. */
#ifndef ATTENTION_BYTES_H
#define ATTENTION_BYTES_H

#include "attention.h"

/* Which line of `head` bytes, and which scale, is that of a position in the first head. */
INLINE size_t line_of(const ch_attention *a, size_t slot_lines, int position) {
    return (size_t)a->slots[position] * slot_lines + position;
}

static void score_bytes(const ch_attention *a, const float *q, size_t at, float *scores) {
    size_t slot_lines = a->slot_stride / a->head;
    for (int from = 0; from < a->length; from += 4) {
        size_t line[4];
        vf sums[4];
        for (int k = 0; k < 4; k++) {
            line[k] = at + line_of(a, slot_lines, from + k < a->length ? from + k : a->length - 1);
            sums[k] = vf_set(0.0f);
        }
        for (int i = 0; i < a->head; i += LANES) {
            vf part = vf_load(q + i);
            for (int k = 0; k < 4; k++) sums[k] = vf_fma(part, vf_bytes(a->key_bytes + line[k] * a->head + i), sums[k]);
        }
        vf_sums(scores + from, sums);
        for (int k = 0; k < 4; k++) scores[from + k] *= a->key_scales[line[k]] * a->scale;
    }
}

/* As `mix`; the scales are in the weights. */
INLINE void mix_bytes(const ch_attention *a, const float *weights, size_t at, int first, float share, float *y, const int width) {
    size_t slot_lines = a->slot_stride / a->head;
    vf sums[width / LANES];
#pragma GCC unroll 16
    for (int k = 0; k < width / LANES; k++) sums[k] = vf_set(0.0f);
    for (int p = 0; p < a->length; p++) {
        const int8_t *value = a->value_bytes + (at + line_of(a, slot_lines, p)) * a->head + first;
        vf weight = vf_set(weights[p]);
#pragma GCC unroll 16
        for (int k = 0; k < width / LANES; k++) sums[k] = vf_fma(weight, vf_bytes(value + k * LANES), sums[k]);
    }
#pragma GCC unroll 16
    for (int k = 0; k < width / LANES; k++) vf_store(y + k * LANES, vf_mul(sums[k], vf_set(share)));
}

static void attend_bytes(const ch_attention *a, const float *q, float *y, float *scores) {
    size_t slot_lines = a->slot_stride / a->head;
    for (int head = 0; head < a->heads; head++, q += a->head, y += a->head) {
        size_t at = (size_t)(head / a->sharing) * (a->head_stride / a->head);
        score_bytes(a, q, at, scores);
        if (a->left) penalize(a, head, a->position, a->length, scores);
        float share = 1.0f / exp_all(scores, a->length);
        for (int p = 0; p < a->length; p++) scores[p] *= a->value_scales[at + line_of(a, slot_lines, p)];
        int i = 0;
        for (; i + AT_ONCE(1) <= a->head; i += AT_ONCE(1)) mix_bytes(a, scores, at, i, share, y + i, AT_ONCE(1));
        for (; i < a->head; i += CH_PANEL) mix_bytes(a, scores, at, i, share, y + i, CH_PANEL);
    }
}

#endif
