/* A search over what follows prompts, by a model without an encoder: the windows of its rows, and what may come. */
#include "search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int is_mark(const ch_share *share, int32_t piece) {
    const ch_drawing *drawing = share->search->drawing;
    int mark = piece == share->search->eos;
    for (int k = 0; drawing && k < drawing->ends_count; k++) mark |= piece == drawing->ends[k];
    return mark;
}

/* Makes room for a prompt's text, which begins with the pieces of the prompt that are no end marks. */
int ch_make_prompt(ch_share *share, ch_source *source) {
    source->text = malloc(((size_t)source->prompt_length + source->limit) * sizeof *source->text);
    if (!source->text) return -1;
    for (int k = 0; k < source->prompt_length; k++)
        if (!is_mark(share, source->prompt[k])) source->text[source->begin++] = source->prompt[k];
    return 0;
}

static int shorter(int a, int b) { return a < b ? a : b; }

/* Reads the ends of all prompts, and makes the rows and logits of each prompt's beams. */
static int read_prompts(ch_share *share) {
    int beams = share->search->beam, most = share->rows->model->max_len, total = 0, row = 0;
    for (int s = 0; s < share->count; s++) total += shorter(share->sources[s].prompt_length, most);
    int32_t *ids = malloc((size_t)total * sizeof *ids), *at = ids;
    if (!ids) return ch_fail("no memory for %d pieces", total);
    for (int s = 0; s < share->count; s++) {
        const ch_source *source = &share->sources[s];
        int count = shorter(source->prompt_length, most);
        memcpy(at, source->prompt + source->prompt_length - count, count * sizeof *ids);
        share->kept[s] = count; /* scratch here */
        at += count;
    }
    int failed = ch_extend(share->rows, ids, share->kept, 0, share->logits);
    free(ids);
    if (failed) return -1;
    for (int s = 0; s < share->count; s++)
        for (int k = 0; k < beams; k++) share->kept[row++] = s;
    while (row--)
        memmove(share->logits + (size_t)row * share->stride, share->logits + (size_t)(row / beams) * share->stride,
                share->stride * sizeof *share->logits);
    return ch_keep(share->rows, share->kept, share->count * beams);
}

/* Writes the last `count` pieces of prompt and text, without the piece that comes next, and then that one. */
static void write_window(const ch_source *source, int beam, int length, int count, int32_t *to) {
    const int32_t *ids = source->ids + (size_t)beam * source->limit;
    int own = length - 1;
    for (int k = own + source->prompt_length - count; k < own + source->prompt_length; k++)
        *to++ = k < source->prompt_length ? source->prompt[k] : ids[k - source->prompt_length];
    *to = ids[own];
}

/* Appends the next piece to every row; one that is full drops the older half of its window, and reads the rest anew. */
int ch_advance_texts(ch_share *share) {
    if (!share->length) return read_prompts(share);
    int beams = share->search->beam, rows = share->count * beams, most = share->rows->model->max_len, full = 0;
    for (int r = 0; r < rows; r++) full += share->rows->length[r] == most;
    if (!full) return ch_extend(share->rows, share->next, share->ones, 0, share->logits);
    int32_t *counts = malloc(((size_t)rows * 2 + (size_t)full * (most / 2 + 1)) * sizeof *counts);
    if (!counts) return ch_fail("no memory for windows of %d rows", full);
    int32_t *ids = counts + rows, *at = ids;
    for (int r = 0; r < rows; r++) counts[r] = share->rows->length[r] == most ? most : 0;
    int failed = ch_back(share->rows, counts);
    for (int r = 0; r < rows; r++) {
        int kept = counts[r] ? most / 2 : 0;
        write_window(&share->sources[r / beams], r % beams, share->length, kept, at);
        counts[r] = kept + 1;
        at += kept + 1;
    }
    failed = failed || ch_extend(share->rows, ids, counts, 0, share->logits);
    free(counts);
    return failed;
}

/* Penalties and bans on the next piece of a beam. The search knows one end mark, which gets the logit of the best. */
int ch_adjust_beam(ch_share *share, ch_source *source, int beam, int row, float *logits) {
    const ch_drawing *drawing = share->search->drawing;
    memcpy(source->text + source->begin, source->ids + (size_t)beam * source->limit, share->length * sizeof(int32_t));
    if (ch_adjust(share->sampler, logits, source->text, source->begin + share->length, source->begin, row)) return -1;
    for (int k = 0; k < drawing->ends_count; k++) {
        float *end = &logits[drawing->ends[k]], *eos = &logits[share->search->eos];
        *eos = *end > *eos ? *end : *eos;
        if (end != eos) *end = -INFINITY;
    }
    return 0;
}
