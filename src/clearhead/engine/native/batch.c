/* Sources whose rows are computed together, by one thread. They come and go between any two steps: each has its own length
 * and its own settings, and no source depends on another. One begins with a single row, which becomes `beam` rows after its
 * first step. */
#include <stdlib.h>
#include <string.h>

#include "search.h"
#include "shortlist.h"

/* ---------------------------------------------------------------------------------------------------------- coming and going */

void ch_batch_open(ch_batch *batch, const ch_model *model, const char *instructions, int threads) {
    *batch = (ch_batch){.model = model, .instructions = instructions, .threads = threads};
    batch->kernels = ch_kernels_of(instructions);
}

void ch_batch_close(ch_batch *batch) {
    for (int s = 0; s < batch->count; s++) ch_source_free(batch->sources[s]);
    for (ch_source *source = batch->over, *next; source; source = next) {
        next = source->next;
        ch_source_free(source);
    }
    void *blocks[] = {batch->sources, batch->logits, batch->values, batch->pieces,    batch->candidates, batch->parents,
                      batch->kept,    batch->counts, batch->fed,    batch->ids,       batch->log_probs,  batch->states,
                      batch->progress};
    for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++) free(blocks[k]);
    ch_rows_free(batch->rows);
    ch_sampler_free(batch->sampler);
}

void ch_batch_threads(ch_batch *batch, int threads) {
    batch->threads = threads;
    if (batch->rows) ch_rows_threads(batch->rows, threads);
}

int ch_batch_join(ch_batch *batch, ch_source *source) {
    if (batch->count == batch->places) {
        int places = batch->places ? 2 * batch->places : 16;
        ch_source **sources = realloc(batch->sources, places * sizeof *sources);
        if (!sources) return ch_fail("no memory for %d sources", places);
        batch->sources = sources;
        batch->places = places;
    }
    batch->sources[batch->count++] = source;
    return 0;
}

int ch_batch_rows(const ch_batch *batch) {
    int rows = 0;
    for (int s = 0; s < batch->count; s++) rows += batch->sources[s]->gone ? 0 : batch->sources[s]->asked.search->beam;
    return rows;
}

/* --------------------------------------------------------------------------------------------------------------------- steps */

/* The source fails for the reason in ch_error(). */
static void fail(ch_source *source) {
    free(source->failed);
    source->failed = strdup(ch_error());
    if (!source->failed) source->failed = calloc(1, 1);
}

static void end(ch_batch *batch, ch_source *source) {
    source->next = batch->over;
    batch->over = source;
}

/* Without its rows a batch can start anew. */
static void fail_all(ch_batch *batch) {
    for (int s = 0; s < batch->count; s++) {
        ch_source *source = batch->sources[s];
        fail(source);
        if (source->gone) ch_source_free(source);
        else end(batch, source);
    }
    batch->count = 0;
    ch_rows_free(batch->rows);
    batch->rows = NULL;
}

/* Makes a block larger, whose content is of no use any more. */
static int renew(void *block, size_t bytes) {
    void **old = block;
    free(*old);
    *old = ch_allocate(bytes);
    return *old ? 0 : -1;
}

/* Makes room for so many rows, and for the widest beam, and the longest. */
static int make_room(ch_batch *batch) {
    int rows = 0, beam = 0;
    size_t pieces = 0, candidates = 0, phrases = 0;
    for (int s = 0; s < batch->count; s++) {
        const ch_asked *asked = &batch->sources[s]->asked;
        size_t size = (size_t)asked->search->beam * asked->limit;
        rows += asked->search->beam;
        beam = asked->search->beam > beam ? asked->search->beam : beam;
        pieces = size > pieces ? size : pieces;
        size_t beams = asked->search->beam, listed = beams * (beams + 1 + asked->required);
        candidates = listed > candidates ? listed : candidates;
        size_t states = beams * ch_phrase_count(batch->sources[s]);
        phrases = states > phrases ? states : phrases;
    }
    if (rows > batch->row_room) {
        batch->row_room = 0;
        if (renew(&batch->logits, (size_t)rows * batch->model->lm_head.outputs * sizeof(float)) ||
            renew(&batch->parents, rows * sizeof(int32_t)) || renew(&batch->kept, rows * sizeof(int32_t)) ||
            renew(&batch->counts, rows * sizeof(int32_t)))
            return -1;
        batch->row_room = rows;
    }
    if (beam > batch->beam_room) {
        size_t width = beam + 1;
        batch->beam_room = 0;
        if (renew(&batch->values, width * sizeof(float)) || renew(&batch->pieces, width * sizeof(int32_t)) ||
            renew(&batch->states, beam * sizeof(int)))
            return -1;
        batch->beam_room = beam;
    }
    if (candidates > batch->candidate_room) {
        batch->candidate_room = 0;
        if (renew(&batch->candidates, candidates * sizeof(ch_candidate))) return -1;
        batch->candidate_room = candidates;
    }
    if (phrases > batch->progress_room) {
        batch->progress_room = 0;
        if (renew(&batch->progress, phrases * sizeof(int32_t))) return -1;
        batch->progress_room = phrases;
    }
    if (pieces <= batch->piece_room) return 0;
    batch->piece_room = 0;
    if (renew(&batch->ids, pieces * sizeof(int32_t)) || renew(&batch->log_probs, pieces * sizeof(float))) return -1;
    batch->piece_room = pieces;
    return 0;
}

/* Takes the rows out of those that left, of which nothing else may be read any more. */
static int let_go(ch_batch *batch) {
    int left = 0, kept = 0, row = 0;
    for (int s = 0; s < batch->count; s++) {
        ch_source *source = batch->sources[s];
        if (source->gone) {
            row += source->rows;
            ch_source_free(source);
            continue;
        }
        batch->sources[left++] = source;
        for (int k = 0; k < source->rows; k++) batch->kept[kept++] = row++;
    }
    batch->count = left;
    return kept < row ? ch_keep(batch->rows, batch->kept, kept) : 0;
}

/* Makes a row for each of those that came, which are the last ones. */
static int take_in(ch_batch *batch) {
    const ch_model *m = batch->model;
    int first = batch->count, wanted = 0, longest = 0, total = 0;
    while (first && !batch->sources[first - 1]->rows) first--;
    int fresh = batch->count - first;
    if (!fresh) return 0;
    for (int s = 0; s < batch->count; s++) wanted += batch->sources[s]->asked.search->beam;
    for (int s = first; s < batch->count; s++) {
        const ch_asked *asked = &batch->sources[s]->asked;
        longest = asked->limit > longest ? asked->limit : longest;
        total += asked->length;
    }
    if (ch_reserve_slots(batch->rows, wanted) || (m->encoder && ch_reserve(batch->rows, longest))) return -1;
    if (!m->encoder) return ch_join_empty(batch->rows, fresh);
    int32_t *ids = malloc(((size_t)total + fresh) * sizeof *ids), *lengths = ids + total, *at = ids;
    if (!ids) return ch_fail("no memory for %d pieces", total);
    for (int s = first; s < batch->count; s++) {
        const ch_asked *asked = &batch->sources[s]->asked;
        memcpy(at, asked->ids, asked->length * sizeof *at);
        at += lengths[s - first] = asked->length;
    }
    int failed = ch_join_sources(batch->rows, ids, lengths, fresh, 1);
    free(ids);
    for (int s = first, row = batch->rows->count - fresh; !failed && s < batch->count; s++, row++) {
        const ch_asked *asked = &batch->sources[s]->asked;
        if (asked->shortlist) failed = ch_shorten(batch->rows, row, asked->shortlist, asked->shortlist_length);
    }
    return failed;
}

static int32_t last_piece(const ch_source *source, int beam) {
    return source->length ? source->ids[(size_t)beam * source->asked.limit + source->length - 1] : source->asked.search->bos;
}

/* Lists the pieces that each row gets, and computes what follows. */
static int feed(ch_batch *batch) {
    int row = 0, total = 0, most = batch->model->max_len, full = 0;
    for (int s = 0; s < batch->count; s++)
        for (int k = 0; k < batch->sources[s]->rows; k++, row++) {
            batch->counts[row] = batch->model->encoder ? 1 : ch_feed_count(batch, batch->sources[s], row);
            batch->kept[row] = batch->rows->length[row] == most ? most : 0;
            full |= batch->kept[row];
            total += batch->counts[row];
        }
    if (total > batch->fed_room) {
        batch->fed_room = 0;
        if (renew(&batch->fed, 2 * (size_t)total * sizeof(int32_t))) return -1;
        batch->fed_room = 2 * total;
    }
    int32_t *at = batch->fed;
    row = 0;
    for (int s = 0; s < batch->count; s++)
        for (int k = 0; k < batch->sources[s]->rows; at += batch->counts[row++], k++) {
            if (batch->model->encoder) *at = last_piece(batch->sources[s], k);
            else ch_feed_prompt(batch->sources[s], k, batch->counts[row], at);
        }
    if (full && ch_back(batch->rows, batch->kept)) return -1;
    return ch_extend(batch->rows, batch->fed, batch->counts, 0, batch->logits);
}

static int begin_step(ch_batch *batch) {
    if (!batch->rows) batch->rows = ch_rows_new(batch->model, batch->instructions, batch->threads);
    if (!batch->rows || let_go(batch) || make_room(batch) || take_in(batch)) return -1;
    int adjusted = 0;
    for (int s = 0; s < batch->count; s++) {
        ch_source *source = batch->sources[s];
        if (!source->rows) source->rows = 1;
        adjusted |= source->asked.search->drawing != NULL;
    }
    if (adjusted && !batch->sampler) batch->sampler = ch_sampler_new(batch->instructions, batch->model->vocab);
    if (adjusted && !batch->sampler) return -1;
    return batch->count ? feed(batch) : 0;
}

/* Rows go on from where their beams do; first in place, where every row may keep its slot, then those that are over go,
 * and those that have made their first step get the rows of their beams. */
static int end_step(ch_batch *batch) {
    int left = 0, rows = 0, row = 0, moved = 0, changed = 0;
    for (int r = 0; r < batch->rows->count; r++) moved |= batch->parents[r] != r;
    if (moved && ch_keep(batch->rows, batch->parents, batch->rows->count)) return -1;
    for (int s = 0; s < batch->count; s++) {
        ch_source *source = batch->sources[s];
        int over = source->failed || ch_is_over(source), beams = source->asked.search->beam, before = source->rows;
        if (over && !source->failed && ch_finish_source(source)) fail(source);
        if (over) {
            changed = 1;
            row += before;
            end(batch, source);
            continue;
        }
        changed |= before != beams;
        for (int k = 0; k < beams; k++) batch->kept[rows++] = before == beams ? row + k : row;
        row += before;
        source->rows = beams;
        batch->sources[left++] = source;
    }
    batch->count = left;
    return changed ? ch_keep(batch->rows, batch->kept, rows) : 0;
}

void ch_batch_step(ch_batch *batch) {
    if (!batch->count) return;
    if (begin_step(batch)) {
        fail_all(batch);
        return;
    }
    for (int s = 0, row = 0; s < batch->count; row += batch->sources[s++]->rows) {
        ch_source *source = batch->sources[s];
        int32_t *parents = source->rows == source->asked.search->beam ? batch->parents + row : batch->kept;
        if (ch_extend_source(batch, source, row, parents)) fail(source);
        for (int k = 0; source->failed && k < source->rows; k++) batch->parents[row + k] = row + k;
        if (parents != batch->parents + row) batch->parents[row] = row; /* its beams all go on from its one row */
    }
    if (end_step(batch)) fail_all(batch);
}
