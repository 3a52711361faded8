/* Encoders without a decoder: texts in, states and logits out, dealt out among threads.
 *
 * Texts go through the layers in parts of whole texts, without padding. Texts of a part are of like length, and the
 * longest parts are claimed first, so that threads end at about the same time. Which texts share a part changes no
 * result: every product and every sum is of one token, or of one text. */
#include <stdlib.h>
#include <string.h>

#include "deal.h"
#include "rows.h"

#define PART_TOKENS 256  /* tokens of a part: enough for whole tiles, few enough that states stay in the cache */
#define PART_STATES 64   /* rows of states that a head takes at once */

/* ------------------------------------------------------------------------------------------------------------------ threads */

typedef struct {
    const ch_model *model;
    const char *instructions;
    int (*compute)(ch_rows *rows, const void *job, int part);
    const void *job;
} ch_reading;

/* What a thread does: it has scratch memory of its own. */
static int compute_parts(void *argument, ch_parts *parts) {
    const ch_reading *reading = argument;
    ch_rows *rows = ch_rows_new(reading->model, reading->instructions, 1);
    int failed = rows ? 0 : -1;
    for (int part; !failed && (part = ch_claim(parts)) >= 0;) failed = reading->compute(rows, reading->job, part);
    ch_rows_free(rows);
    return failed;
}

/* -------------------------------------------------------------------------------------------------------------------- texts */

typedef struct {
    int length, number;
    size_t start;     /* of its first token among all */
} ch_text;

typedef struct {
    const ch_model *model;
    const int32_t *ids, *segments;
    float *states;
    const ch_text *texts;  /* longest first */
    const int *part_start; /* [parts + 1], numbers in `texts` */
} ch_texts;

static int longest_first(const void *a, const void *b) {
    const ch_text *left = a, *right = b;
    if (left->length != right->length) return left->length < right->length ? 1 : -1;
    return left->number < right->number ? -1 : 1;
}

static int check_text(const ch_model *m, const int32_t *ids, const int32_t *segments, int length) {
    if (ch_check_source(m, ids, length)) return -1;
    int last = m->segments ? m->segment_count - 1 : 0;
    for (int i = 0; segments && i < length; i++)
        if (segments[i] < 0 || segments[i] > last) return ch_fail("segment %d: must be from 0 to %d", segments[i], last);
    return 0;
}

/* Copies what belongs to a text to where it stands in its part. */
static void lay_out(const ch_texts *job, const ch_text *text, int32_t *ids, int *position, int *length, int *segment) {
    memcpy(ids, job->ids + text->start, text->length * sizeof *ids);
    if (segment) memcpy(segment, job->segments + text->start, text->length * sizeof *segment);
    for (int p = 0; p < text->length; p++) {
        position[p] = p;
        length[p] = text->length;
    }
}

static int encode_part(ch_rows *rows, const void *argument, int part) {
    const ch_texts *job = argument;
    const ch_text *first = job->texts + job->part_start[part], *end = job->texts + job->part_start[part + 1];
    int total = 0, at = 0;
    for (const ch_text *text = first; text < end; text++) total += text->length;
    int *numbers = malloc(4 * (size_t)total * sizeof(int));
    if (!numbers) return ch_fail("no memory for %d pieces", total);
    int *position = numbers + total, *length = position + total, *segment = job->segments ? length + total : NULL;
    for (const ch_text *text = first; text < end; at += text->length, text++)
        lay_out(job, text, numbers + at, position + at, length + at, segment ? segment + at : NULL);
    int failed = ch_room_for(rows, total, first->length);
    ch_tokens tokens = {numbers, NULL, position, length, total, segment};
    if (!failed) ch_encode_tokens(rows, &tokens);
    size_t width = job->model->width;
    const float *from = rows->room.x;
    for (const ch_text *text = first; !failed && text < end; from += text->length * width, text++)
        memcpy(job->states + text->start * width, from, text->length * width * sizeof(float));
    free(numbers);
    return failed;
}

/* Cuts sorted texts into parts of about so many tokens; returns how many parts there are. */
static int cut(const ch_text *texts, int count, int tokens, int *part_start) {
    int parts = 0, inside = tokens;
    for (int k = 0; k < count; inside += texts[k++].length) {
        if (inside > 0 && inside + texts[k].length > tokens) {
            part_start[parts++] = k;
            inside = 0;
        }
    }
    part_start[parts] = count;
    return parts;
}

/* A part for each thread, where there is not enough for whole ones. */
static int part_tokens(size_t total, int threads) {
    size_t even = threads > 1 ? (total + threads - 1) / threads : total;
    return even < PART_TOKENS ? (int)even : PART_TOKENS;
}

int ch_encode_texts(const ch_model *m, const char *instructions, int threads, const int32_t *ids, const int32_t *segments,
                    const int32_t *lengths, int texts, float *states) {
    if (!m->encoder) return ch_fail("a model without an encoder reads no texts");
    if (!ch_kernels_of(instructions)) return -1;
    if (texts < 1) return 0;
    ch_text *sorted = malloc((size_t)texts * sizeof *sorted);
    int *part_start = malloc(((size_t)texts + 1) * sizeof *part_start), failed = 0;
    if (!sorted || !part_start) failed = ch_fail("no memory for %d texts", texts);
    size_t total = 0;
    for (int k = 0; !failed && k < texts; total += lengths[k++]) {
        failed = check_text(m, ids + total, segments ? segments + total : NULL, lengths[k]);
        sorted[k] = (ch_text){lengths[k], k, total};
    }
    if (!failed) {
        qsort(sorted, texts, sizeof *sorted, longest_first);
        ch_texts job = {m, ids, segments, states, sorted, part_start};
        int parts = cut(sorted, texts, part_tokens(total, threads), part_start);
        ch_reading reading = {m, instructions, encode_part, &job};
        failed = ch_deal(parts, threads, compute_parts, &reading);
    }
    free(sorted);
    free(part_start);
    return failed;
}

/* --------------------------------------------------------------------------------------------------------------------- heads */

typedef struct {
    const ch_model *model;
    const float *states;
    float *logits;
    int count;
} ch_head_job;

static int head_part(ch_rows *rows, const void *argument, int part) {
    const ch_head_job *job = argument;
    size_t first = (size_t)part * PART_STATES;
    int count = job->count - (int)first < PART_STATES ? job->count - (int)first : PART_STATES;
    if (ch_room_for(rows, count, 1)) return -1;
    ch_run_head(rows, job->states + first * job->model->width, count, job->logits + first * job->model->lm_head.outputs);
    return 0;
}

int ch_head_logits(const ch_model *m, const char *instructions, int threads, const float *states, int count, float *logits) {
    if (!m->lm_head.weight) return ch_fail("the model has no head");
    if (!ch_kernels_of(instructions)) return -1;
    if (count < 1) return 0;
    ch_head_job job = {m, states, logits, count};
    ch_reading reading = {m, instructions, head_part, &job};
    return ch_deal((count + PART_STATES - 1) / PART_STATES, threads, compute_parts, &reading);
}
