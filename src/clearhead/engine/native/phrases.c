/* Phrases that a translation must contain, met by dynamic beam allocation as decode/constraints.py does it, and phrases that
 * it must not.
 *
 * Candidates are the best pieces of each hypothesis and, for each phrase it has not met, the most probable of the pieces
 * that bring it nearer. Those that miss equally many pieces make a bank; the banks take turns in giving their best to the
 * beam (Post and Vilar 2018, arXiv:1804.06609). */
#include "search.h"
#include "shortlist.h"

#include <math.h>
#include <stdlib.h>

static int32_t after(const ch_phrase *phrase, int32_t state, int32_t piece) {
    return phrase->steps[(size_t)state * phrase->kinds + phrase->kind[piece]];
}

static const int32_t *progress_of(const ch_source *source, int beam) {
    return source->progress + (size_t)beam * ch_phrase_count(source);
}

static int check_begins(const ch_phrase *phrase) {
    if (phrase->begins[0]) return ch_fail("the ways of a phrase begin at %d: must begin at 0", phrase->begins[0]);
    for (int state = 0; state < phrase->states; state++)
        if (phrase->begins[state + 1] < phrase->begins[state])
            return ch_fail("the ways of a phrase in state %d end before they begin", state);
    return 0;
}

static int check_phrase(const ch_phrase *phrase, int vocab) {
    if (phrase->states < 1 || phrase->kinds < 1)
        return ch_fail("a phrase of %d states, %d kinds: must have some", phrase->states, phrase->kinds);
    if (ch_check_ids(phrase->kind, vocab, phrase->kinds)) return -1;
    if (ch_check_ids(phrase->steps, phrase->states * phrase->kinds, phrase->states)) return -1;
    if (check_begins(phrase)) return -1;
    return ch_check_ids(phrase->ways, phrase->begins[phrase->states], vocab);
}

int ch_check_phrases(const ch_model *m, const ch_asked *asked) {
    int count = asked->required + asked->avoided;
    if (count && !m->encoder) return ch_fail("phrases: are for the sources of a model with an encoder");
    if (asked->required && asked->search->beam < 2) return ch_fail("beam = 1: must be at least 2 with required phrases");
    for (int k = 0; k < count; k++)
        if (check_phrase(asked->phrases[k], m->vocab)) return -1;
    return 0;
}

int ch_missing(const ch_source *source, int beam) {
    int missing = 0;
    for (int k = 0; k < source->asked.required; k++)
        missing += source->asked.phrases[k]->left[progress_of(source, beam)[k]];
    return missing;
}

void ch_ban_avoided(const ch_source *source, int beam, const ch_shortlist *list, int count, float *logits) {
    int place = source->asked.required;
    const ch_phrase *phrase = source->asked.phrases[place];
    const int32_t *next = phrase->steps + (size_t)progress_of(source, beam)[place] * phrase->kinds;
    for (int k = 0; k < count; k++)
        if (!phrase->left[next[phrase->kind[list ? list->ids[k] : k]]]) logits[k] = -INFINITY;
}

/* The best of the pieces that bring a phrase nearer, with its logit; where it has occurred, the end mark. */
static int32_t best_way(const ch_source *source, const ch_phrase *phrase, int32_t state, const ch_shortlist *list,
                        const float *logits, float *value) {
    const int32_t *ways = phrase->ways + phrase->begins[state], *eos = &source->asked.search->eos;
    int count = phrase->begins[state + 1] - phrase->begins[state];
    int32_t best = -1;
    if (!phrase->left[state]) {
        ways = eos;
        count = 1;
    }
    *value = -INFINITY;
    for (int k = 0; k < count; k++) {
        int place = ch_place_of(list, ways[k]);
        if (place < 0 || !(logits[place] > *value)) continue;
        *value = logits[place];
        best = ways[k];
    }
    return best;
}

static int missing_after(const ch_source *source, int beam, int32_t piece) {
    int missing = 0;
    for (int k = 0; k < source->asked.required; k++) {
        const ch_phrase *phrase = source->asked.phrases[k];
        missing += phrase->left[after(phrase, progress_of(source, beam)[k], piece)];
    }
    return missing;
}

void ch_add_ways(const ch_source *source, int beam, const ch_shortlist *list, const float *logits, float log_z,
                 ch_candidate *out) {
    int count = source->width;
    for (int k = 0; k < source->asked.required; k++) {
        float value = -INFINITY;
        int32_t piece = -1;
        if (source->length >= source->asked.prefix_length) /* within the prefix there is no choice */
            piece = best_way(source, source->asked.phrases[k], progress_of(source, beam)[k], list, logits, &value);
        for (int other = 0; other < count; other++)
            if (out[other].piece == piece) value = -INFINITY;
        out[count++] = (ch_candidate){source->scores[beam] + (value - log_z), value - log_z, piece, beam, 0, 0, 0};
    }
    for (int k = 0; k < count; k++)
        if (isfinite(out[k].score)) out[k].missing = missing_after(source, beam, out[k].piece);
}

/* Bank by bank, in each the best first; of equals the one that was listed first. */
static int by_bank(const void *left, const void *right) {
    const ch_candidate *one = left, *other = right;
    if (one->missing != other->missing) return one->missing < other->missing ? -1 : 1;
    if (one->score != other->score) return one->score > other->score ? -1 : 1;
    return one->place - other->place;
}

/* Ends that are to be kept go before all, the best first; then turn by turn, fewest missing pieces first. */
static int by_turn(const void *left, const void *right) {
    const ch_candidate *one = left, *other = right;
    if (one->turn != other->turn) return one->turn < other->turn ? -1 : 1;
    if (one->turn) return one->missing - other->missing;
    if (one->score != other->score) return one->score > other->score ? -1 : 1;
    return one->place - other->place;
}

int ch_take_turns(const ch_source *source, ch_candidate *all, int n, int most) {
    int finite = 0;
    for (int k = 0; k < n; k++) {
        if (!isfinite(all[k].score)) continue;
        all[finite] = all[k];
        all[finite].place = finite;
        finite++;
    }
    qsort(all, finite, sizeof *all, by_bank);
    for (int k = 0, bank = 0; k < finite; k++) {
        if (all[k].missing != all[bank].missing) bank = k;
        all[k].turn = k - bank + 1;
        if (all[k].piece == source->asked.search->eos && all[k].turn <= source->asked.search->beam)
            all[k].turn = 0; /* ends take no place from those that go on */
    }
    qsort(all, finite, sizeof *all, by_turn);
    return most < finite ? most : finite;
}

void ch_progress(const ch_source *source, const int32_t *from, int32_t piece, int32_t *to) {
    for (int k = 0; k < ch_phrase_count(source); k++) to[k] = after(source->asked.phrases[k], from[k], piece);
}
