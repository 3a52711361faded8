/* Greedy and beam search: the same hypotheses as decode/search.py finds, of sources, which are translated, or of prompts,
 * which a model without an encoder continues (prompts.c).
 *
 * A source ends when no live hypothesis could still become its best: a live score can only fall, and
 * what it will be divided by is at most the penalty at the limit. */
#include "search.h"
#include "shortlist.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double penalty_of(int length, double length_penalty) { return pow((5.0 + length) / 6.0, length_penalty); }

static void keep_whole(const ch_batch *batch, const ch_source *source, int beam, const ch_shortlist *list, float *logits) {
    const ch_search *search = source->asked.search;
    ch_keep_whole(search->never_first, search->never_first_count, search->allowed, search->states, search->rooms,
                  batch->model->vocab, source->states[beam], source->asked.limit - source->length - 1,
                  list ? list->ids : NULL, list ? list->count : batch->model->vocab, logits);
}

static void ban(const ch_shortlist *list, int32_t piece, float *logits) {
    int place = ch_place_of(list, piece);
    if (place >= 0) logits[place] = -INFINITY;
}

/* Lists the best next pieces of a beam that is in use, which stands in a row. */
static int extend_beam(ch_batch *batch, ch_source *source, int beam, int row, ch_candidate *out) {
    const ch_search *search = source->asked.search;
    const ch_shortlist *list = ch_shortlist_of(batch->rows, row);
    int count = list ? list->count : batch->model->vocab;
    float *logits = batch->logits + (size_t)row * batch->model->lm_head.outputs;
    float log_z = batch->kernels->log_sum_exp(logits, count);
    if (search->drawing && ch_adjust_beam(batch, source, beam, logits)) return -1;
    if (isnan(log_z)) return ch_fail("NaN among the logits");
    for (int k = 0; k < search->forbidden_count; k++) ban(list, search->forbidden[k], logits);
    if (source->length < search->at_least || ch_missing(source, beam)) ban(list, search->eos, logits);
    if (source->length < source->asked.prefix_length) {
        for (int k = 0; k < source->width; k++) batch->values[k] = -INFINITY;
        batch->pieces[0] = source->asked.prefix[source->length];
        int place = ch_place_of(list, batch->pieces[0]);
        if (place >= 0) batch->values[0] = logits[place];
    } else {
        if (source->asked.avoided) ch_ban_avoided(source, beam, list, count, logits);
        if (search->after) keep_whole(batch, source, beam, list, logits);
        batch->kernels->top(logits, count, source->width, batch->values, batch->pieces);
        for (int k = 0; list && k < source->width; k++)
            if (batch->pieces[k] >= 0) batch->pieces[k] = list->ids[batch->pieces[k]];
    }
    for (int k = 0; k < source->width; k++) {
        float log_prob = batch->values[k] - log_z;
        out[k] = (ch_candidate){source->scores[beam] + log_prob, log_prob, batch->pieces[k], beam, 0, 0, 0};
    }
    if (source->asked.required) ch_add_ways(source, beam, list, logits, log_z, out);
    return 0;
}

/* Brings the `count` best of n candidates to the front, best first, of equals the first. */
static void best_first(ch_candidate *all, int n, int count) {
    for (int place = 0; place < count; place++) {
        int best = place;
        for (int k = place + 1; k < n; k++)
            if (all[k].score > all[best].score) best = k;
        ch_candidate chosen = all[best];
        memmove(all + place + 1, all + place, (best - place) * sizeof *all);
        all[place] = chosen;
    }
}

/* Keeps the hypothesis that stands in a beam, with the log-probability of its end mark if it has one. */
static int keep_hypothesis(ch_source *source, int beam, const float *end) {
    const ch_search *search = source->asked.search;
    ch_finished *kept = ch_pool_next(&source->pool);
    size_t at = (size_t)beam * source->asked.limit;
    kept->length = source->length;
    kept->complete = end != NULL;
    kept->cut_better = 0;
    memcpy(kept->ids, source->ids + at, source->length * sizeof(int32_t));
    memcpy(kept->log_probs, source->log_probs + at, source->length * sizeof(float));
    if (end) kept->log_probs[source->length] = *end;
    double score = 0.0;
    for (int k = 0; k < source->length + kept->complete; k++) score += kept->log_probs[k];
    kept->rank_score = score / penalty_of(source->length + kept->complete, search->length_penalty);
    kept->text = -1;
    if (search->n_best > 1 && search->text_of) {
        kept->text = search->text_of(kept->ids, kept->length);
        if (kept->text < 0) return ch_fail("the text of a hypothesis could not be read");
    }
    ch_pool_add(&source->pool);
    return 0;
}

/* Copies what the beams of a source hold to scratch memory. */
static void set_aside(ch_batch *batch, const ch_source *source) {
    size_t limit = source->asked.limit, used = source->length;
    for (int beam = 0; beam < source->rows; beam++) {
        memcpy(batch->ids + beam * limit, source->ids + beam * limit, used * sizeof(int32_t));
        memcpy(batch->log_probs + beam * limit, source->log_probs + beam * limit, used * sizeof(float));
        batch->states[beam] = source->states[beam];
    }
    size_t phrases = (size_t)source->rows * ch_phrase_count(source);
    if (phrases) memcpy(batch->progress, source->progress, phrases * sizeof(int32_t));
}

/* A beam goes on with a candidate from what was set aside. */
static void go_on(const ch_batch *batch, ch_source *source, int beam, const ch_candidate *with) {
    size_t limit = source->asked.limit, used = source->length, to = beam * limit, from = with->parent * limit;
    const ch_search *search = source->asked.search;
    memcpy(source->ids + to, batch->ids + from, used * sizeof(int32_t));
    memcpy(source->log_probs + to, batch->log_probs + from, used * sizeof(float));
    source->ids[to + used] = with->piece;
    source->log_probs[to + used] = with->log_prob;
    source->scores[beam] = with->score;
    size_t phrases = ch_phrase_count(source);
    if (phrases) ch_progress(source, batch->progress + with->parent * phrases, with->piece, source->progress + beam * phrases);
    if (search->after)
        source->states[beam] = search->after[(size_t)batch->states[with->parent] * batch->model->vocab + with->piece];
}

int ch_extend_source(ch_batch *batch, ch_source *source, int first_row, int32_t *parents) {
    const ch_search *search = source->asked.search;
    int beams = search->beam, most = beams > 1 ? 2 * beams : 1, total = 0, live = 0;
    ch_candidate *all = batch->candidates;
    for (int beam = 0; beam < source->rows; beam++) {
        if (source->scores[beam] == -INFINITY) continue;
        if (extend_beam(batch, source, beam, first_row + beam, all + total)) return -1;
        total += source->width + source->asked.required;
    }
    if (most > total) most = total;
    if (source->asked.required) most = ch_take_turns(source, all, total, most);
    else best_first(all, total, most);
    for (int k = 0; k < most && k < beams; k++)
        if (all[k].piece == search->eos && isfinite(all[k].score) && keep_hypothesis(source, all[k].parent, &all[k].log_prob))
            return -1;
    set_aside(batch, source);
    for (int k = 0; k < most && live < beams; k++) {
        if (all[k].piece == search->eos || !isfinite(all[k].score)) continue;
        go_on(batch, source, live, &all[k]);
        parents[live++] = first_row + all[k].parent;
    }
    for (; live < beams; live++) { /* beams that are not in use repeat any piece */
        source->scores[live] = -INFINITY;
        source->ids[(size_t)live * source->asked.limit + source->length] = search->eos;
        parents[live] = first_row;
    }
    source->length++;
    return 0;
}

/* The score of the best beam, with phrases not always the first; of those that miss none of them, if only these count. */
static float best_score(const ch_source *source, int whole) {
    float best = -INFINITY;
    for (int beam = 0; beam < source->asked.search->beam; beam++)
        if (source->scores[beam] > best && !(whole && ch_missing(source, beam))) best = source->scores[beam];
    return best;
}

/* At its limit, without a live beam, or with none that could still be among the best. */
int ch_is_over(const ch_source *source) {
    const ch_search *search = source->asked.search;
    int wanted = search->n_best;
    float best = best_score(source, 0);
    if (source->length >= source->asked.limit || best == -INFINITY) return 1;
    double most = penalty_of(source->asked.limit, search->length_penalty);
    return source->pool.count >= wanted && best / most <= source->pool.ranked[wanted - 1].rank_score;
}

static const double ROUNDING = 1e-3; /* more than a score, which is added up in single precision, can be wrong by */

/* How many of the first pieces are those of another hypothesis too. */
static int in_common(const int32_t *pieces, int count, const int32_t *others, int length) {
    int k = 0;
    while (k < count && k < length && pieces[k] == others[k]) k++;
    return k;
}

/* What is found is one of those that are finished, or goes on with a live one that may still be among the best. */
int ch_settled(const ch_source *source, int32_t *ids) {
    const ch_search *search = source->asked.search;
    const ch_pool *pool = &source->pool;
    const int32_t *first = pool->count ? pool->ranked[0].ids : source->ids;
    int count = pool->count ? pool->ranked[0].length : source->length, wanted = search->n_best;
    double most = penalty_of(source->asked.limit, search->length_penalty);
    for (int k = 1; k < pool->count; k++) count = in_common(first, count, pool->ranked[k].ids, pool->ranked[k].length);
    for (int beam = 0; beam < search->beam; beam++) {
        if (source->scores[beam] == -INFINITY) continue;
        if (pool->count >= wanted && source->scores[beam] / most + ROUNDING < pool->ranked[wanted - 1].rank_score) continue;
        count = in_common(first, count, source->ids + (size_t)beam * source->asked.limit, source->length);
    }
    memcpy(ids, first, count * sizeof *ids);
    return count;
}

int ch_finish_source(ch_source *source) {
    const ch_search *search = source->asked.search;
    ch_pool *pool = &source->pool;
    double cut = best_score(source, 1) / penalty_of(source->length, search->length_penalty);
    if (pool->count && pool->ranked[0].complete && source->length >= source->asked.limit)
        for (int k = 0; k < pool->count; k++) pool->ranked[k].cut_better = pool->ranked[k].rank_score < cut;
    for (int beam = 0; beam < search->beam; beam++)
        if (pool->count < search->n_best && isfinite(source->scores[beam]) && keep_hypothesis(source, beam, NULL)) return -1;
    return 0;
}

void ch_write_found(const ch_source *source, const ch_found *found, int place) {
    for (int k = 0; k < found->n_best; k++) {
        const ch_finished *one = &source->pool.ranked[k];
        size_t at = (size_t)place * found->n_best + k;
        int missing = k >= source->pool.count || k >= source->asked.search->n_best;
        found->lengths[at] = missing ? -1 : one->length;
        found->complete[at] = missing ? 0 : one->complete;
        found->cut_better[at] = missing ? 0 : one->cut_better;
        if (missing) continue;
        memcpy(found->ids + at * found->stride, one->ids, one->length * sizeof(int32_t));
        memcpy(found->log_probs + at * found->stride, one->log_probs, (one->length + one->complete) * sizeof(float));
    }
}

/* ------------------------------------------------------------------------------------------------------------------- sources */

static int check_piece(const char *what, int32_t piece, int vocab) {
    return piece < 0 || piece >= vocab ? ch_fail("%s %d: must be from 0 to %d", what, piece, vocab - 1) : 0;
}

static int check_search(const ch_model *m, const ch_search *search) {
    if (search->beam < 1) return ch_fail("beam = %d: must be at least 1", search->beam);
    if (search->n_best < 1 || search->n_best > search->beam)
        return ch_fail("n_best = %d: must be from 1 to beam = %d", search->n_best, search->beam);
    if (check_piece("bos", search->bos, m->vocab) || check_piece("eos", search->eos, m->vocab)) return -1;
    if (ch_check_ids(search->forbidden, search->forbidden_count, m->vocab)) return -1;
    if (!search->drawing) return 0;
    if (m->encoder) return ch_fail("penalties: a search of a model with an encoder has none");
    return ch_check_drawing(search->drawing, m->vocab);
}

int ch_check_asked(const ch_model *m, const ch_asked *asked) {
    if (check_search(m, asked->search)) return -1;
    if (m->encoder ? ch_check_source(m, asked->ids, asked->length) : ch_check_ids(asked->ids, asked->length, m->vocab)) return -1;
    if (asked->length < 1) return ch_fail("a prompt of %d pieces: must have at least 1", asked->length);
    if (asked->limit < 1) return ch_fail("limit = %d: must be at least 1", asked->limit);
    if (m->encoder && asked->limit > m->max_len) /* windows of other models slide */
        return ch_fail("limit = %d: must be from 1 to %d", asked->limit, m->max_len);
    if (asked->shortlist && !m->encoder) return ch_fail("a shortlist: is for the sources of a model with an encoder");
    if (asked->shortlist && ch_check_shortlist(m, asked->shortlist, asked->shortlist_length)) return -1;
    return ch_check_phrases(m, asked) || ch_check_ids(asked->prefix, asked->prefix_length, m->vocab) ? -1 : 0;
}

ch_source *ch_source_new(const ch_model *m, const ch_asked *asked, int64_t number) {
    size_t beams = asked->search->beam, size = beams * asked->limit;
    ch_source *source = calloc(1, sizeof *source);
    if (source) {
        source->asked = *asked;
        source->number = number;
        source->width = beams > 1 ? ((int)beams + 1 < m->vocab ? (int)beams + 1 : m->vocab) : 1;
        source->scores = malloc(beams * sizeof(float));
        source->ids = calloc(size, sizeof(int32_t));
        source->log_probs = calloc(size, sizeof(float));
        source->states = calloc(beams, sizeof(int));
        source->progress = calloc(beams * ch_phrase_count(source) + 1, sizeof(int32_t));
        int failed = ch_pool_make(&source->pool, asked->search->n_best > 1 ? (int)beams : 1, asked->limit);
        failed = failed || !source->scores || !source->ids || !source->log_probs || !source->states || !source->progress;
        if (!failed && (m->encoder || !ch_make_prompt(source))) {
            for (size_t k = 0; k < beams; k++) source->scores[k] = k ? -INFINITY : 0.0f;
            return source;
        }
    }
    ch_source_free(source);
    ch_fail("no memory to search with a beam of %d and up to %d pieces", (int)beams, asked->limit);
    return NULL;
}

void ch_source_free(ch_source *source) {
    if (!source) return;
    void *blocks[] = {source->scores, source->ids,      source->log_probs, source->states,
                      source->text,   source->progress, source->failed};
    for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++) free(blocks[k]);
    ch_pool_free(&source->pool);
    free(source);
}
