/* Searches that sources join and leave between any two steps, each with its settings, as a server needs them.
 *
 * There is a batch for each thread. A source goes to the one with the fewest rows, and stays there. Batches make their steps
 * side by side, by threads of the pool; where only one has sources, its products have all threads. A source whose search
 * fails ends with its reason, and the others go on. */
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "search.h"

typedef struct {
    int64_t number;
    ch_source *source;
    int over;
} ch_ticket;

struct ch_searches {
    const ch_model *model;
    char instructions[16];
    int threads;
    ch_batch *batches;   /* [threads] */
    ch_ticket *tickets; /* in order of their numbers */
    int count, places;
    int64_t last;       /* number that was given */
};

ch_searches *ch_searches_new(const ch_model *model, const char *instructions, int threads) {
    if (!ch_kernels_of(instructions)) return NULL;
    ch_searches *searches = calloc(1, sizeof *searches);
    threads = threads > 1 ? threads : 1;
    if (searches) searches->batches = calloc(threads, sizeof *searches->batches);
    if (!searches || !searches->batches) {
        free(searches);
        ch_fail("no memory for %d threads", threads);
        return NULL;
    }
    searches->model = model;
    searches->threads = threads;
    strncpy(searches->instructions, instructions, sizeof searches->instructions - 1);
    for (int k = 0; k < threads; k++) ch_batch_open(&searches->batches[k], model, searches->instructions, 1);
    return searches;
}

void ch_searches_free(ch_searches *searches) {
    if (!searches) return;
    for (int k = 0; k < searches->count; k++)
        if (searches->tickets[k].over) ch_source_free(searches->tickets[k].source);
    for (int k = 0; k < searches->threads; k++) ch_batch_close(&searches->batches[k]);
    free(searches->batches);
    free(searches->tickets);
    free(searches);
}

int ch_searches_rows(const ch_searches *searches) {
    int rows = 0;
    for (int k = 0; k < searches->threads; k++) rows += ch_batch_rows(&searches->batches[k]);
    return rows;
}

static ch_ticket *find(const ch_searches *searches, int64_t number) {
    int low = 0, high = searches->count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (searches->tickets[middle].number < number) low = middle + 1;
        else high = middle;
    }
    if (low < searches->count && searches->tickets[low].number == number) return &searches->tickets[low];
    ch_fail("ticket %lld: there is none, or it was taken, or it has left", (long long)number);
    return NULL;
}

static void forget(ch_searches *searches, ch_ticket *ticket) {
    size_t after = (size_t)(searches->tickets + --searches->count - ticket);
    memmove(ticket, ticket + 1, after * sizeof *ticket);
}

/* ------------------------------------------------------------------------------------------------------------ coming and going */

static ch_batch *emptiest(ch_searches *searches) {
    ch_batch *found = searches->batches;
    int least = ch_batch_rows(found);
    for (int k = 1; k < searches->threads; k++) {
        int rows = ch_batch_rows(&searches->batches[k]);
        if (rows >= least) continue;
        found = &searches->batches[k];
        least = rows;
    }
    return found;
}

static int join_one(ch_searches *searches, const ch_asked *asked) {
    ch_source *source = ch_source_new(searches->model, asked, searches->last + 1);
    if (!source || ch_batch_join(emptiest(searches), source)) {
        ch_source_free(source);
        return -1;
    }
    searches->tickets[searches->count++] = (ch_ticket){++searches->last, source, 0};
    return 0;
}

int ch_searches_join(ch_searches *searches, const ch_asked *asked, int sources, int64_t *tickets) {
    for (int s = 0; s < sources; s++)
        if (ch_check_asked(searches->model, &asked[s])) return -1;
    if (searches->count + sources > searches->places) {
        int places = 2 * searches->places > searches->count + sources ? 2 * searches->places : searches->count + sources;
        ch_ticket *more = realloc(searches->tickets, places * sizeof *more);
        if (!more) return ch_fail("no memory for %d tickets", places);
        searches->tickets = more;
        searches->places = places;
    }
    for (int s = 0; s < sources; s++) {
        if (join_one(searches, &asked[s])) {
            while (s--) ch_searches_leave(searches, tickets[s]);
            return -1;
        }
        tickets[s] = searches->last;
    }
    return 0;
}

int ch_searches_leave(ch_searches *searches, int64_t number) {
    ch_ticket *ticket = find(searches, number);
    if (!ticket) return -1;
    if (ticket->over) ch_source_free(ticket->source);
    else ticket->source->gone = 1;
    forget(searches, ticket);
    return 0;
}

int ch_searches_take(ch_searches *searches, int64_t number, const ch_found *found) {
    ch_ticket *ticket = find(searches, number);
    if (!ticket) return -1;
    ch_source *source = ticket->source;
    if (!ticket->over) return ch_fail("ticket %lld: its search is not over", (long long)number);
    if (source->asked.limit > found->stride || source->asked.search->n_best > found->n_best)
        return ch_fail("room for %d hypotheses of %d pieces: must be for those of the ticket", found->n_best, found->stride);
    int failed = source->failed ? ch_fail("%s", source->failed) : 0;
    if (!failed) ch_write_found(source, found, 0);
    ch_source_free(source);
    forget(searches, ticket);
    return failed;
}

int ch_searches_settled(const ch_searches *searches, int64_t number, int32_t *ids) {
    const ch_ticket *ticket = find(searches, number);
    if (!ticket) return -1;
    if (ticket->over) return ch_fail("ticket %lld: its search is over", (long long)number);
    return ch_settled(ticket->source, ids);
}

/* --------------------------------------------------------------------------------------------------------------------- steps */

typedef struct {
    ch_batch **batches;
    int steps;
} ch_steps;

static void make_steps(const void *argument, int first, int last, float *apart, float *scratch) {
    const ch_steps *job = argument;
    (void)apart;
    (void)scratch;
    for (int k = first; k < last; k++)
        for (int step = 0; step < job->steps && job->batches[k]->count; step++) ch_batch_step(job->batches[k]);
}

int ch_searches_step(ch_searches *searches, int steps, int threads, int64_t *over, int most) {
    ch_batch **going = malloc(searches->threads * sizeof *going);
    int count = 0, written = 0;
    if (!going) return ch_fail("no memory for %d threads", searches->threads);
    for (int k = 0; k < searches->threads; k++)
        if (searches->batches[k].count) going[count++] = &searches->batches[k];
    ch_steps job = {going, steps};
    for (int k = 0; k < count; k++) ch_batch_threads(going[k], count > 1 ? 1 : threads);
    if (count > 1) ch_together(make_steps, &job, sizeof job, count);
    else make_steps(&job, 0, count, NULL, NULL);
    for (int k = 0; k < count; k++) {
        for (ch_source *source; (source = going[k]->over);) {
            going[k]->over = source->next;
            find(searches, source->number)->over = 1;
        }
    }
    free(going);
    for (int k = 0; k < searches->count && written < most; k++)
        if (searches->tickets[k].over) over[written++] = searches->tickets[k].number;
    return written;
}
