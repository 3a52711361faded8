/* A search over what follows prompts, by a model without an encoder: the windows of its rows, and what may come. */
#include "search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int is_mark(const ch_search *search, int32_t piece) {
    const ch_drawing *drawing = search->drawing;
    int mark = piece == search->eos;
    for (int k = 0; drawing && k < drawing->ends_count; k++) mark |= piece == drawing->ends[k];
    return mark;
}

/* Makes room for a prompt's text, which begins with the pieces of the prompt that are no end marks. */
int ch_make_prompt(ch_source *source) {
    const ch_asked *asked = &source->asked;
    source->text = malloc(((size_t)asked->length + asked->limit) * sizeof *source->text);
    if (!source->text) return -1;
    for (int k = 0; k < asked->length; k++)
        if (!is_mark(asked->search, asked->ids[k])) source->text[source->begin++] = asked->ids[k];
    return 0;
}

/* At first the end of the prompt, then a piece a step; a row that is full drops the older half of its window, and reads
 * the rest anew. */
int ch_feed_count(const ch_batch *batch, const ch_source *source, int row) {
    int most = batch->model->max_len;
    if (!source->length) return source->asked.length < most ? source->asked.length : most;
    return batch->rows->length[row] == most ? most / 2 + 1 : 1;
}

/* Writes the last `count` pieces of the prompt and what a beam has written. */
void ch_feed_prompt(const ch_source *source, int beam, int count, int32_t *to) {
    const ch_asked *asked = &source->asked;
    const int32_t *ids = source->ids + (size_t)beam * asked->limit;
    int all = asked->length + source->length;
    for (int k = all - count; k < all; k++) *to++ = k < asked->length ? asked->ids[k] : ids[k - asked->length];
}

/* Penalties and bans on the next piece of a beam. The search knows one end mark, which gets the logit of the best. */
int ch_adjust_beam(ch_batch *batch, ch_source *source, int beam, float *logits) {
    const ch_search *search = source->asked.search;
    const ch_drawing *drawing = batch->sampler->drawing = search->drawing;
    memcpy(source->text + source->begin, source->ids + (size_t)beam * source->asked.limit, source->length * sizeof(int32_t));
    if (ch_adjust(batch->sampler, logits, source->text, source->begin + source->length, source->begin)) return -1;
    for (int k = 0; k < drawing->ends_count; k++) {
        float *end = &logits[drawing->ends[k]], *eos = &logits[search->eos];
        *eos = *end > *eos ? *end : *eos;
        if (end != eos) *end = -INFINITY;
    }
    return 0;
}
