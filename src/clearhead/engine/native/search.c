/* Greedy and beam search as whole loops: the same hypotheses as decode/search.py finds, one thread a share of sources,
 * which are translated, or of prompts, which a model without an encoder continues (prompts.c).
 *
 * A source ends when no live hypothesis could still become its best: a live score can only fall, and what it will be
 * divided by is at most the penalty at the limit. Sources that end leave, and no source depends on another. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "search.h"

static double penalty_of(int length, double length_penalty) { return pow((5.0 + length) / 6.0, length_penalty); }

static void keep_whole(const ch_share *share, const ch_source *source, int beam, float *logits) {
    const ch_search *search = share->search;
    ch_keep_whole(search->never_first, search->never_first_count, search->allowed, search->states, search->rooms,
                  share->vocab, source->states[beam], source->limit - share->length - 1, logits);
}

/* Lists the best next pieces of one beam, which stands in a row. */
static int extend_beam(ch_share *share, ch_source *source, int beam, int row, ch_candidate *out) {
    const ch_search *search = share->search;
    float *logits = share->logits + (size_t)row * share->stride, log_z = share->kernels->log_sum_exp(logits, share->vocab);
    if (share->sampler && source->scores[beam] > -INFINITY && ch_adjust_beam(share, source, beam, row, logits)) return -1;
    if (isnan(log_z)) return ch_fail("NaN among the logits");
    for (int k = 0; k < search->forbidden_count; k++) logits[search->forbidden[k]] = -INFINITY;
    if (share->length < search->at_least) logits[search->eos] = -INFINITY;
    if (share->length < source->prefix_length) {
        for (int k = 0; k < share->width; k++) share->values[k] = -INFINITY;
        share->pieces[0] = source->prefix[share->length];
        share->values[0] = logits[share->pieces[0]];
    } else {
        if (search->after) keep_whole(share, source, beam, logits);
        share->kernels->top(logits, share->vocab, share->width, share->values, share->pieces);
    }
    for (int k = 0; k < share->width; k++) {
        float log_prob = share->values[k] - log_z;
        out[k] = (ch_candidate){source->scores[beam] + log_prob, log_prob, share->pieces[k], beam};
    }
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
static int keep_hypothesis(ch_share *share, ch_source *source, int beam, const float *end) {
    const ch_search *search = share->search;
    ch_finished *kept = ch_pool_next(&source->pool);
    kept->length = share->length;
    kept->complete = end != NULL;
    kept->cut_better = 0;
    memcpy(kept->ids, source->ids + (size_t)beam * source->limit, share->length * sizeof(int32_t));
    memcpy(kept->log_probs, source->log_probs + (size_t)beam * source->limit, share->length * sizeof(float));
    if (end) kept->log_probs[share->length] = *end;
    double score = 0.0;
    for (int k = 0; k < share->length + kept->complete; k++) score += kept->log_probs[k];
    kept->rank_score = score / penalty_of(share->length + kept->complete, search->length_penalty);
    kept->text = -1;
    if (search->n_best > 1 && search->text_of) {
        kept->text = search->text_of(kept->ids, kept->length);
        if (kept->text < 0) return ch_fail("the text of a hypothesis could not be read");
    }
    ch_pool_add(&source->pool);
    return 0;
}

/* Gives every beam of a source its next piece; rows of the beams that these go on from go to `parents`. */
static int extend_source(ch_share *share, ch_source *source, int first_row, int32_t *parents) {
    int beams = share->search->beam, total = beams * share->width, most = beams > 1 ? 2 * beams : 1, live = 0;
    ch_candidate *all = share->candidates;
    for (int beam = 0; beam < beams; beam++)
        if (extend_beam(share, source, beam, first_row + beam, all + beam * share->width)) return -1;
    if (most > total) most = total;
    best_first(all, total, most);
    for (int k = 0; k < most && k < beams; k++)
        if (all[k].piece == share->search->eos && isfinite(all[k].score) &&
            keep_hypothesis(share, source, all[k].parent, &all[k].log_prob))
            return -1;
    size_t limit = source->limit, used = share->length;
    memcpy(share->ids, source->ids, beams * limit * sizeof(int32_t));
    memcpy(share->log_probs, source->log_probs, beams * limit * sizeof(float));
    memcpy(share->states, source->states, beams * sizeof(int));
    for (int k = 0; k < most && live < beams; k++) {
        if (all[k].piece == share->search->eos || !isfinite(all[k].score)) continue;
        memcpy(source->ids + live * limit, share->ids + all[k].parent * limit, used * sizeof(int32_t));
        memcpy(source->log_probs + live * limit, share->log_probs + all[k].parent * limit, used * sizeof(float));
        source->ids[live * limit + used] = all[k].piece;
        source->log_probs[live * limit + used] = all[k].log_prob;
        source->scores[live] = all[k].score;
        if (share->search->after)
            source->states[live] = share->search->after[(size_t)share->states[all[k].parent] * share->vocab + all[k].piece];
        parents[live++] = first_row + all[k].parent;
    }
    for (; live < beams; live++) { /* beams that are not in use repeat any piece */
        source->scores[live] = -INFINITY;
        source->ids[live * limit + used] = share->search->eos;
        parents[live] = first_row;
    }
    return 0;
}

/* Whether a source is over: at its limit, without a live beam, or with none that could still be among the best. */
static int is_over(const ch_share *share, const ch_source *source) {
    int wanted = share->search->n_best;
    if (share->length >= source->limit || source->scores[0] == -INFINITY) return 1;
    double most = penalty_of(source->limit, share->search->length_penalty);
    return source->pool.count >= wanted && source->scores[0] / most <= source->pool.ranked[wanted - 1].rank_score;
}

/* Writes what was found; where too few hypotheses are finished, the best live ones go with them. */
static int finish(ch_share *share, ch_source *source) {
    const ch_found *found = share->found;
    ch_pool *pool = &source->pool;
    int wanted = share->search->n_best;
    double cut = source->scores[0] / penalty_of(share->length, share->search->length_penalty);
    if (pool->count && pool->ranked[0].complete && share->length >= source->limit)
        for (int k = 0; k < pool->count; k++) pool->ranked[k].cut_better = pool->ranked[k].rank_score < cut;
    for (int beam = 0; beam < share->search->beam; beam++)
        if (pool->count < wanted && isfinite(source->scores[beam]) && keep_hypothesis(share, source, beam, NULL)) return -1;
    for (int k = 0; k < pool->count && k < wanted; k++) {
        const ch_finished *one = &pool->ranked[k];
        size_t at = (size_t)source->number * wanted + k;
        memcpy(found->ids + at * found->stride, one->ids, one->length * sizeof(int32_t));
        memcpy(found->log_probs + at * found->stride, one->log_probs, (one->length + one->complete) * sizeof(float));
        found->lengths[at] = one->length;
        found->complete[at] = one->complete;
        found->cut_better[at] = one->cut_better;
    }
    return 0;
}

/* One step of all sources of a share: a piece for each row, then what they lead to. */
static int step(ch_share *share) {
    int beams = share->search->beam, left = 0, rows = 0;
    int failed = share->rows->model->encoder ? ch_extend(share->rows, share->next, share->ones, 0, share->logits)
                                             : ch_advance_texts(share);
    if (failed) return -1;
    for (int s = 0; s < share->count; s++)
        if (extend_source(share, &share->sources[s], s * beams, share->kept + s * beams)) return -1;
    share->length++;
    for (int s = 0; s < share->count; s++) {
        ch_source source = share->sources[s];
        if (is_over(share, &source)) {
            if (finish(share, &source)) return -1;
            share->sources[s] = source;
            continue;
        }
        for (int k = 0; k < beams; k++, rows++) {
            share->kept[rows] = share->kept[s * beams + k];
            share->next[rows] = source.ids[(size_t)k * source.limit + share->length - 1];
        }
        ch_source over = share->sources[left];
        share->sources[left++] = source;
        if (left - 1 != s) share->sources[s] = over;
    }
    int same = left == share->count;
    share->count = left;
    return left && (beams > 1 || !same) ? ch_keep(share->rows, share->kept, rows) : 0;
}

/* ------------------------------------------------------------------------------------------------------------------- sharing */

static void free_share(ch_share *share, int sources) {
    for (int s = 0; share->sources && s < sources; s++) {
        free(share->sources[s].scores);
        free(share->sources[s].ids);
        free(share->sources[s].log_probs);
        free(share->sources[s].states);
        free(share->sources[s].text);
        ch_pool_free(&share->sources[s].pool);
    }
    void *blocks[] = {share->sources, share->logits, share->values, share->pieces, share->candidates,
                      share->kept,    share->next,   share->ones,   share->ids,    share->log_probs, share->states};
    for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++) free(blocks[k]);
    ch_rows_free(share->rows);
    ch_sampler_free(share->sampler);
}

static int make_source(ch_share *share, ch_source *source) {
    size_t beams = share->search->beam, size = beams * source->limit;
    source->scores = malloc(beams * sizeof(float));
    source->ids = calloc(size, sizeof(int32_t));
    source->log_probs = calloc(size, sizeof(float));
    source->states = calloc(beams, sizeof(int));
    if (ch_pool_make(&source->pool, share->search->n_best > 1 ? (int)beams : 1, source->limit)) return -1;
    if (!source->scores || !source->ids || !source->log_probs || !source->states) return -1;
    for (size_t k = 0; k < beams; k++) source->scores[k] = k ? -INFINITY : 0.0f;
    return source->prompt ? ch_make_prompt(share, source) : 0;
}

static int make_room(ch_share *share, const ch_model *m, int longest) {
    int beams = share->search->beam, rows = share->count * beams;
    share->vocab = m->vocab;
    share->stride = m->lm_head.outputs;
    share->width = beams > 1 ? (beams + 1 < m->vocab ? beams + 1 : m->vocab) : 1;
    share->logits = ch_allocate((size_t)rows * share->stride * sizeof(float));
    share->values = malloc(share->width * sizeof(float));
    share->pieces = malloc(share->width * sizeof(int32_t));
    share->candidates = malloc((size_t)beams * share->width * sizeof(ch_candidate));
    share->kept = malloc(rows * sizeof(int32_t));
    share->next = malloc(rows * sizeof(int32_t));
    share->ones = malloc(rows * sizeof(int32_t));
    share->ids = malloc((size_t)beams * longest * sizeof(int32_t));
    share->log_probs = malloc((size_t)beams * longest * sizeof(float));
    share->states = malloc(beams * sizeof(int));
    if (!share->logits || !share->values || !share->pieces || !share->candidates || !share->kept || !share->next ||
        !share->ones || !share->ids || !share->log_probs || !share->states)
        return ch_fail("no memory to search for %d sources", share->count);
    for (int r = 0; r < rows; r++) {
        share->next[r] = share->search->bos;
        share->ones[r] = 1;
    }
    return 0;
}

/* What the threads of one call share; each claims the next sources until there are none. */
typedef struct {
    const ch_model *model;
    const char *instructions;
    const ch_kernels *kernels;
    const int32_t *ids, *lengths;
    const int32_t *const *source_ids, *const *prefixes; /* [sources] */
    const ch_search *search;
    const ch_found *found;
    int sources, at_once;
    int threads;             /* of each share */
    atomic_int next, failed;
    char reason[256];
} ch_work;

static int translate_share(ch_work *work, int first, int count) {
    ch_share share = {.kernels = work->kernels, .search = work->search, .found = work->found, .count = count};
    int longest = 0, failed = 0;
    share.sources = calloc(count, sizeof *share.sources);
    share.rows = ch_rows_new(work->model, work->instructions, work->threads);
    if (!share.sources || !share.rows) failed = ch_fail("no memory to search for %d sources", count);
    if (work->search->drawing) {
        share.sampler = ch_sampler_new(work->search->drawing, work->instructions, work->model->vocab);
        failed = failed || !share.sampler;
    }
    for (int s = 0; !failed && s < count; s++) {
        ch_source *source = &share.sources[s];
        source->number = first + s;
        source->limit = work->search->limits[first + s];
        source->prefix = work->prefixes ? work->prefixes[first + s] : NULL;
        source->prefix_length = work->prefixes ? work->search->prefix_lengths[first + s] : 0;
        source->prompt = work->model->encoder ? NULL : work->source_ids[first + s];
        source->prompt_length = work->lengths[first + s];
        longest = source->limit > longest ? source->limit : longest;
        if (make_source(&share, source)) failed = ch_fail("no memory to search for %d sources", count);
    }
    failed = failed || make_room(&share, work->model, longest);
    if (work->model->encoder) {
        const int32_t *ids = work->source_ids[first], *lengths = work->lengths + first;
        failed = failed || ch_join_sources(share.rows, ids, lengths, count, work->search->beam);
        failed = failed || ch_reserve(share.rows, longest);
    } else failed = failed || ch_join_empty(share.rows, count);
    while (!failed && share.count) failed = step(&share);
    free_share(&share, count);
    return failed;
}

static void *run(void *argument) {
    ch_work *work = argument;
    for (;;) {
        int first = atomic_fetch_add(&work->next, work->at_once);
        if (first >= work->sources || atomic_load(&work->failed)) return NULL;
        int count = work->sources - first < work->at_once ? work->sources - first : work->at_once;
        if (translate_share(work, first, count) && !atomic_exchange(&work->failed, 1))
            strncpy(work->reason, ch_error(), sizeof work->reason - 1);
    }
}

static int check_piece(const char *what, int32_t piece, int vocab) {
    return piece < 0 || piece >= vocab ? ch_fail("%s %d: must be from 0 to %d", what, piece, vocab - 1) : 0;
}

static int check_search(const ch_model *m, const ch_search *search, int sources, int stride) {
    if (search->beam < 1) return ch_fail("beam = %d: must be at least 1", search->beam);
    if (search->n_best < 1 || search->n_best > search->beam)
        return ch_fail("n_best = %d: must be from 1 to beam = %d", search->n_best, search->beam);
    if (check_piece("bos", search->bos, m->vocab) || check_piece("eos", search->eos, m->vocab)) return -1;
    for (int k = 0; k < search->forbidden_count; k++)
        if (check_piece("piece", search->forbidden[k], m->vocab)) return -1;
    const int32_t *prefix = search->prefixes;
    for (int s = 0; s < sources; s++) {
        int limit = search->limits[s];
        int most = m->encoder && m->max_len < stride ? m->max_len : stride; /* windows of other models slide */
        if (limit < 1 || limit > most) return ch_fail("limit = %d: must be from 1 to %d", limit, most);
        for (int k = 0; prefix && k < search->prefix_lengths[s]; k++, prefix++)
            if (check_piece("piece", *prefix, m->vocab)) return -1;
    }
    return 0;
}

/* How many sources a thread takes at once: enough rows for a good product, few enough that all threads have some. */
static int sources_at_once(int sources, int threads, int beam) {
    int wanted = 64 / beam > 8 ? 64 / beam : 8, even = (sources + threads - 1) / threads;
    return even < wanted ? even : wanted;
}

int ch_translate(const ch_model *m, const char *instructions, int threads, const int32_t *ids, const int32_t *lengths,
                 int sources, const ch_search *search, const ch_found *found) {
    const ch_kernels *kernels = ch_kernels_of(instructions);
    if (!kernels || check_search(m, search, sources, found->stride)) return -1;
    if (sources < 1) return 0;
    const int32_t **starts = malloc(2 * (size_t)sources * sizeof *starts);
    pthread_t *others = malloc((threads > 1 ? threads : 1) * sizeof *others);
    if (!starts || !others) {
        free(starts);
        free(others);
        return ch_fail("no memory to search for %d sources", sources);
    }
    const int32_t *prefix = search->prefixes;
    for (int s = 0; s < sources; s++) {
        starts[s] = ids;
        starts[sources + s] = prefix;
        ids += lengths[s];
        if (prefix) prefix += search->prefix_lengths[s];
    }
    for (int k = 0; k < sources * search->n_best; k++) {
        found->lengths[k] = -1;
        found->complete[k] = found->cut_better[k] = 0;
    }
    int at_once = sources_at_once(sources, threads, search->beam), shares = (sources + at_once - 1) / at_once;
    ch_work work = {m, instructions, kernels, ids, lengths, starts, search->prefixes ? starts + sources : NULL,
                    search, found, sources, at_once, shares > 1 ? 1 : threads, 0, 0, ""};
    int started = 0;
    while (started < threads - 1 && started + 1 < shares && !pthread_create(&others[started], NULL, run, &work)) started++;
    run(&work);
    for (int k = 0; k < started; k++) pthread_join(others[k], NULL);
    free(starts);
    free(others);
    return atomic_load(&work.failed) ? ch_fail("%s", work.reason) : 0;
}
