/* Attention of queries over cached keys and values: a part of kernels.c. */
#ifndef ATTENTION_H
#define ATTENTION_H

#include "elementwise.h"

INLINE size_t place_of(const ch_attention *a, int position) {
    size_t slot = a->slots ? (size_t)a->slots[position] * a->slot_stride : 0;
    return slot + (size_t)position * a->position_stride;
}

/* Queries that go through the keys together. What a query gets does not depend on their number: every sum has an
 * accumulator of its own, and runs over features or keys in order. */
#if LANES == 16 /* with twice the registers of AVX2 */
#define QUERIES 4
#define AT_ONCE(Q) (4 * LANES) /* features of values */
#else
#define QUERIES 2
#define AT_ONCE(Q) (8 * LANES / (Q))
#endif
#define MOST_VECTORS 8
#define EACH_QUERY _Pragma("GCC unroll 4") for (int i = 0; i < Q; i++)
#define EACH_KEY _Pragma("GCC unroll 4") for (int k = 0; k < 4; k++)

/* Scores of one head's queries with `length` keys, four keys at a time; what is beyond the last key is written over
 * later. The scores of query i stand at i * room. */
INLINE void score(const ch_attention *a, const float *q, const float *keys, int length, float *scores, int room, const int Q) {
    for (int from = 0; from < length; from += 4) {
        const float *key[4];
        vf sums[QUERIES][4];
        EACH_KEY {
            key[k] = keys + place_of(a, from + k < length ? from + k : length - 1);
            EACH_QUERY sums[i][k] = vf_set(0.0f);
        }
        for (int at = 0; at < a->head; at += LANES) {
            vf parts[4];
            EACH_KEY parts[k] = vf_load(key[k] + at);
            EACH_QUERY {
                vf part = vf_load(q + i * a->q_stride + at);
                EACH_KEY sums[i][k] = vf_fma(part, parts[k], sums[i][k]);
            }
        }
        EACH_QUERY vf_sums(scores + i * room + from, sums[i]);
    }
}

/* The weighted sums of `width` features of the values, a constant number of vectors in registers; query i has the first
 * length + i * growth of them. */
INLINE void mix(const ch_attention *a, const float *weights, int room, const float *values, const float *share, float *y,
                const int width, const int Q) {
    vf sums[QUERIES][MOST_VECTORS]; /* Q and width / LANES of them are used */
#define EACH_VECTOR _Pragma("GCC unroll 16") for (int k = 0; k < width / LANES; k++)
    EACH_QUERY EACH_VECTOR sums[i][k] = vf_set(0.0f);
    int p = 0;
    for (; p < a->length; p++) {
        const float *value = values + place_of(a, p);
        vf weight[QUERIES];
        EACH_QUERY weight[i] = vf_set(weights[i * room + p]);
        EACH_VECTOR {
            vf part = vf_load(value + k * LANES);
            EACH_QUERY sums[i][k] = vf_fma(weight[i], part, sums[i][k]);
        }
    }
    EACH_QUERY for (int last = a->length; last < a->length + i * a->growth; last++) {
        const float *value = values + place_of(a, last);
        vf weight = vf_set(weights[i * room + last]);
        EACH_VECTOR sums[i][k] = vf_fma(weight, vf_load(value + k * LANES), sums[i][k]);
    }
    EACH_QUERY EACH_VECTOR vf_store(y + i * a->y_stride + k * LANES, vf_mul(sums[i][k], vf_set(share[i])));
}

static void penalize(const ch_attention *a, int head, int position, int length, float *scores) { /* ALiBi, see nn/position.py */
    for (int p = 0; p < length; p++) {
        int back = position - p;
        scores[p] -= back >= 0 ? a->left[head] * (float)back : a->right[head] * (float)-back;
    }
}

/* One head of the first Q queries of `a`. */
INLINE void attend_together(const ch_attention *a, int head, const float *q, float *y, float *scores, const int Q) {
    size_t at = (size_t)(head / a->sharing) * a->head_stride;
    int longest = a->length + (Q - 1) * a->growth, room = longest / 16 * 16 + 32, i = 0;
    float share[QUERIES];
    score(a, q, a->keys + at, longest, scores, room, Q);
    EACH_QUERY {
        float *of_query = scores + i * room;
        int length = a->length + i * a->growth;
        for (int p = 0; p < length; p++) of_query[p] *= a->scale;
        if (a->left) penalize(a, head, a->position + i, length, of_query);
        share[i] = 1.0f / exp_all(of_query, length);
    }
    const float *values = a->values + at;
    for (; i + AT_ONCE(Q) <= a->head; i += AT_ONCE(Q)) mix(a, scores, room, values + i, share, y + i, AT_ONCE(Q), Q);
    for (; i + 2 * CH_PANEL <= a->head; i += 2 * CH_PANEL) mix(a, scores, room, values + i, share, y + i, 2 * CH_PANEL, Q);
    for (; i < a->head; i += CH_PANEL) mix(a, scores, room, values + i, share, y + i, CH_PANEL, Q);
}

static void attend_all(const ch_attention *a, int head, const float *q, float *y, float *scores) {
    attend_together(a, head, q, y, scores, QUERIES);
}

static void attend_two(const ch_attention *a, int head, const float *q, float *y, float *scores) {
    attend_together(a, head, q, y, scores, 2);
}

static void attend_one(const ch_attention *a, int head, const float *q, float *y, float *scores) {
    attend_together(a, head, q, y, scores, 1);
}

static void attend(const ch_attention *all, const float *q, float *y, float *scores) {
    for (int head = all->first_head; head < all->heads; head++) {
        ch_attention a = *all;
        for (int i = 0, n; i < all->queries; i += n) {
            size_t from = i * all->q_stride + (size_t)head * all->head, to = i * all->y_stride + (size_t)head * all->head;
            n = all->queries - i;
            n = n >= QUERIES ? QUERIES : n >= 2 ? 2 : 1;
            (n == QUERIES ? attend_all : n == 2 ? attend_two : attend_one)(&a, head, q + from, y + to, scores);
            a.length += n * a.growth;
            a.position += n;
        }
    }
}

#endif
