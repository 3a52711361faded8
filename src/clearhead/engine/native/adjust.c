/* Penalties and bans on a row of logits, in the order of decode/sampler.py and in its single precision. */
#include <math.h>
#include <string.h>

#include "rows.h"
#include "sample.h"

#define CH_TAIL 3 /* pieces that a character may have before its last one */

static int best_is_a_number(const float *logits, int vocab, const char **word) {
    float best = -INFINITY;
    for (int i = 0; i < vocab; i++) {
        if (isnan(logits[i])) {
            *word = "nan";
            return 0;
        }
        best = logits[i] > best ? logits[i] : best;
    }
    *word = best > 0 ? "inf" : "-inf";
    return isfinite(best);
}

/* Of each piece that was seen, once: its logit divided by the penalty, a negative one multiplied. */
static void penalize_seen(ch_sampler *sampler, float *logits, const int32_t *ids, int length) {
    float penalty = sampler->drawing->repetition;
    for (int k = 0; k < length; k++) {
        float *logit = &logits[ids[k]];
        if (!sampler->counts[ids[k]]++) *logit = *logit < 0 ? *logit * penalty : *logit / penalty;
    }
    for (int k = 0; k < length; k++) sampler->counts[ids[k]] = 0;
}

static void penalize_generated(ch_sampler *sampler, float *logits, const int32_t *ids, int length) {
    const ch_drawing *drawing = sampler->drawing;
    for (int k = 0; k < length; k++) sampler->counts[ids[k]]++;
    for (int k = 0; k < length; k++) {
        int32_t *count = &sampler->counts[ids[k]];
        if (!*count) continue;
        logits[ids[k]] = logits[ids[k]] - drawing->frequency * (float)*count - drawing->presence;
        *count = 0;
    }
}

/* No run of n pieces comes twice: bans what followed where the last n - 1 pieces stood before. */
static void ban_runs(float *logits, const int32_t *ids, int length, int n) {
    const int32_t *tail = ids + length - (n - 1);
    for (int k = 0; k + n <= length; k++)
        if (!memcmp(ids + k, tail, (n - 1) * sizeof *ids)) logits[ids[k + n - 1]] = -INFINITY;
}

/* Bans pieces that would complete a phrase. The state is read off the last pieces, as many as a phrase can have; it
 * starts anew after a whole phrase, which only a prompt can contain. */
static void ban_phrases(const ch_drawing *drawing, float *logits, int vocab, const int32_t *ids, int length) {
    int state = 0, count = length < drawing->avoided_states ? length : drawing->avoided_states;
    for (int k = length - count; k < length; k++) {
        state = drawing->avoided[(size_t)state * vocab + ids[k]];
        if (drawing->avoided_done[state]) state = 0;
    }
    const int32_t *next = drawing->avoided + (size_t)state * vocab;
    for (int piece = 0; piece < vocab; piece++)
        if (drawing->avoided_done[next[piece]]) logits[piece] = -INFINITY;
}

void ch_keep_whole(const int32_t *never_first, int never_first_count, const uint8_t *allowed, int states, int rooms,
                   int vocab, int state, int room, const int32_t *pieces, int count, float *logits) {
    int left = !state && room >= rooms - 1; /* then none of these may come, though nothing else is left */
    if (left && !pieces) {
        for (int k = 0; k < never_first_count; k++) logits[never_first[k]] = -INFINITY;
        return;
    }
    room = room < 0 ? 0 : room < rooms ? room : rooms - 1;
    allowed += ((size_t)room * states + state) * vocab;
    for (int k = 0; !left && k < count; k++) left = allowed[pieces ? pieces[k] : k] && logits[k] > -INFINITY;
    for (int k = 0; left && k < count; k++)
        if (!allowed[pieces ? pieces[k] : k]) logits[k] = -INFINITY;
}

static void keep_whole(const ch_drawing *drawing, float *logits, int vocab, const int32_t *ids, int length, int made) {
    int state = 0;
    for (int k = length > CH_TAIL ? length - CH_TAIL : 0; k < length; k++)
        state = drawing->after[(size_t)state * vocab + ids[k]];
    ch_keep_whole(drawing->never_first, drawing->never_first_count, drawing->allowed, drawing->states, drawing->rooms,
                  vocab, state, drawing->limit - made - 1, NULL, vocab, logits);
}

int ch_adjust(ch_sampler *sampler, float *logits, const int32_t *ids, int length, int prompt) {
    const ch_drawing *drawing = sampler->drawing;
    int vocab = sampler->vocab, made = length - prompt, early = made < drawing->at_least;
    const char *word;
    for (int k = 0; k < drawing->biased_count; k++) logits[drawing->biased[k]] += drawing->bias[k];
    for (int k = 0; k < drawing->forbidden_count; k++) logits[drawing->forbidden[k]] = -INFINITY;
    for (int k = 0; early && k < drawing->ends_count; k++) logits[drawing->ends[k]] = -INFINITY;
    if (!best_is_a_number(logits, vocab, &word))
        return ch_fail("position %d: the best logit is %s, so no piece can be chosen", length, word);
    if (drawing->repetition != 1) penalize_seen(sampler, logits, ids, length);
    if (drawing->presence != 0 || drawing->frequency != 0) penalize_generated(sampler, logits, ids + prompt, made);
    if (drawing->no_repeat_ngram > 0 && drawing->no_repeat_ngram <= length)
        ban_runs(logits, ids, length, drawing->no_repeat_ngram);
    if (early) logits[drawing->eos] = -INFINITY;
    if (!best_is_a_number(logits, vocab, &word))
        return ch_fail("position %d: every piece is banned or impossible", length);
    if (drawing->avoided) ban_phrases(drawing, logits, vocab, ids, length);
    if (drawing->after) keep_whole(drawing, logits, vocab, ids, length, made);
    return 0;
}
