/* Many sources in one call: each thread has a batch, and takes the next sources when some of its own are over. */
#include <stdlib.h>

#include "deal.h"
#include "search.h"

#define ROWS 64     /* of a batch: enough for good products; */
#define SOURCES 8   /* but at least so many sources */

typedef struct {
    const ch_model *model;
    const char *instructions;
    const ch_asked *asked;
    const ch_found *found;
    int threads, alone;  /* alone: threads of each product, of the only batch */
    int most, beam;      /* rows of a batch; the widest beam */
    int even;            /* sources of a batch, were all of them begun at once */
} ch_work;

/* Takes the next sources, as many as there is room for, and no more than leaves the other threads as many. */
static int take_some(const ch_work *work, ch_parts *parts, ch_batch *batch, int fair) {
    int rows = ch_batch_rows(batch);
    for (; fair && rows + work->beam <= work->most; fair--) {
        int number = ch_claim(parts);
        if (number < 0) return 0;
        ch_source *source = ch_source_new(work->model, &work->asked[number], number);
        if (!source) return -1;
        if (ch_batch_join(batch, source)) {
            ch_source_free(source);
            return -1;
        }
        rows += work->asked[number].search->beam;
    }
    return 0;
}

static int hand_in(const ch_work *work, ch_batch *batch) {
    int failed = 0;
    for (ch_source *source; (source = batch->over);) {
        batch->over = source->next;
        if (!source->failed) ch_write_found(source, work->found, (int)source->number);
        else if (work->model->encoder) failed = ch_fail("%s", source->failed);
        else failed = ch_fail("row %d, %s", (int)source->number, source->failed);
        ch_source_free(source);
    }
    return failed;
}

static int translate_some(void *job, ch_parts *parts) {
    const ch_work *work = job;
    ch_batch batch;
    ch_batch_open(&batch, work->model, work->instructions, work->alone);
    int failed = take_some(work, parts, &batch, work->even);
    while (!failed && batch.count) {
        ch_batch_step(&batch);
        failed = hand_in(work, &batch);
        int left = ch_unclaimed(parts), free_rows = work->most - ch_batch_rows(&batch);
        if (!failed && left && 4 * free_rows >= work->most)
            failed = take_some(work, parts, &batch, (left + work->threads - 1) / work->threads);
    }
    ch_batch_close(&batch);
    return failed;
}

int ch_translate(const ch_model *m, const char *instructions, int threads, const ch_asked *asked, int sources,
                 const ch_found *found) {
    if (!ch_kernels_of(instructions)) return -1;
    int beam = 1;
    for (int s = 0; s < sources; s++) {
        if (ch_check_asked(m, &asked[s])) return -1;
        if (asked[s].limit > found->stride || asked[s].search->n_best > found->n_best)
            return ch_fail("room for %d hypotheses of %d pieces: must be for those of every source", found->n_best, found->stride);
        beam = asked[s].search->beam > beam ? asked[s].search->beam : beam;
    }
    if (sources < 1) return 0;
    int most = SOURCES * beam > ROWS ? SOURCES * beam : ROWS, even = (sources + threads - 1) / threads;
    ch_work work = {m, instructions, asked, found, threads, sources > 1 ? 1 : threads, most, beam, even};
    return ch_deal(sources, threads, translate_some, &work);
}
