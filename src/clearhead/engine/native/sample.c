/* Drawing the next piece: temperature, filters, and one number that decides; in double precision, as
 * decode/sampling.py does it and in its order, so that the same number draws the same piece. */
#include "sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

void ch_sizes_of_drawing(int32_t sizes[2]) {
    sizes[0] = (int32_t)sizeof(ch_drawing);
    sizes[1] = (int32_t)sizeof(ch_written);
}

/* ------------------------------------------------------------------------------------------------------------------- numbers */

typedef struct {
    uint64_t high, low;
} ch_wide;

static ch_wide product_of(uint64_t a, uint64_t b) {
    uint64_t a1 = a >> 32, a0 = (uint32_t)a, b1 = b >> 32, b0 = (uint32_t)b;
    uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32), other = a0 * b1 + (uint32_t)middle;
    return (ch_wide){a1 * b1 + (middle >> 32) + (other >> 32), a * b};
}

/* Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". Returns the first of the four words. */
static uint64_t philox(uint64_t seed, const uint64_t counter[4]) {
    uint64_t c[4] = {counter[0], counter[1], counter[2], counter[3]}, key[2] = {seed, 0};
    for (int round = 0; round < 10; round++) {
        ch_wide one = product_of(0xD2E7470EE14C6C93u, c[0]), other = product_of(0xCA5A826395121157u, c[2]);
        uint64_t next[4] = {other.high ^ c[1] ^ key[0], other.low, one.high ^ c[3] ^ key[1], one.low};
        memcpy(c, next, sizeof c);
        key[0] += 0x9E3779B97F4A7C15u;
        key[1] += 0xBB67AE8584CAA73Bu;
    }
    return c[0];
}

void ch_uniforms(const uint64_t *seeds, const int64_t *samples, const int64_t *positions, uint64_t stream, int count,
                 double *uniforms) {
    for (int k = 0; k < count; k++) {
        /* numpy counts on before the first block */
        uint64_t counter[4] = {(uint64_t)positions[k] + 1, (uint64_t)samples[k], stream, 0};
        uniforms[k] = (double)(philox(seeds[k], counter) >> 11) * 0x1p-53;
    }
}

/* --------------------------------------------------------------------------------------------------------------------- heaps */

/* A heap of places in `keys`: the first is the largest key, of equal ones the lowest place. */
static int before(const double *keys, int32_t a, int32_t b) { return keys[a] > keys[b] || (keys[a] == keys[b] && a < b); }

static void sink(const double *keys, int32_t *heap, int n, int at) {
    int32_t moved = heap[at];
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(keys, heap[child + 1], heap[child])) child++;
        if (!before(keys, heap[child], moved)) break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static void make_heap(const double *keys, int32_t *heap, int n) {
    for (int k = 0; k < n; k++) heap[k] = k;
    for (int k = n / 2 - 1; k >= 0; k--) sink(keys, heap, n, k);
}

static int32_t take_first(const double *keys, int32_t *heap, int *n) {
    int32_t first = heap[0];
    heap[0] = heap[--*n];
    if (*n) sink(keys, heap, *n, 0);
    return first;
}

/* ------------------------------------------------------------------------------------------------------------------- filters */

/* Lists the pieces that may be drawn with their scores, of which the best is 0. Returns how many. */
static int list_pieces(ch_sampler *sampler, const float *logits, float best) {
    int n = 0;
    for (int piece = 0; piece < sampler->vocab; piece++) {
        double score = ((double)logits[piece] - best) / sampler->drawing->temperature;
        sampler->scores[n] = score;
        sampler->ids[n] = piece;
        n += score > -INFINITY;
    }
    return n;
}

/* Leaves the pieces that are `kept`. */
static int keep_some(ch_sampler *sampler, int n) {
    int left = 0;
    for (int k = 0; k < n; k++) {
        if (!sampler->kept[k]) continue;
        sampler->scores[left] = sampler->scores[k];
        sampler->ids[left++] = sampler->ids[k];
    }
    return left;
}

static int keep_top(ch_sampler *sampler, int n, int count) {
    if (count >= n) return n;
    int left = n;
    double last = 0;
    make_heap(sampler->scores, sampler->heap, n);
    while (count--) last = sampler->scores[take_first(sampler->scores, sampler->heap, &left)];
    for (int k = 0; k < n; k++) sampler->kept[k] = sampler->scores[k] >= last;
    return keep_some(sampler, n);
}

/* Writes e^score of each piece to `shares`; returns the sum. */
static double exponentials(ch_sampler *sampler, int n, double best) {
    double sum = 0;
    for (int k = 0; k < n; k++) sum += sampler->shares[k] = exp(sampler->scores[k] - best);
    return sum;
}

static int keep_nucleus(ch_sampler *sampler, int n, double mass) {
    double sum = exponentials(sampler, n, 0), reached = 0;
    int left = n;
    memset(sampler->kept, 0, n);
    make_heap(sampler->scores, sampler->heap, n);
    for (int first = 1; left; first = 0) {
        int32_t place = take_first(sampler->scores, sampler->heap, &left);
        double share = sampler->shares[place] / sum;
        reached += share;
        if (!first && !(reached - share < mass)) break; /* the pieces before have enough */
        sampler->kept[place] = 1;
    }
    return keep_some(sampler, n);
}

static int keep_likely(ch_sampler *sampler, int n, double least) {
    for (int k = 0; k < n; k++) sampler->kept[k] = sampler->scores[k] >= least;
    return keep_some(sampler, n);
}

/* Keeps the pieces whose surprise is nearest to the entropy, up to a probability, and ties. */
static int keep_typical(ch_sampler *sampler, int n, double mass) {
    double log_sum = log(exponentials(sampler, n, 0)), entropy = 0, reached = 0, farthest = 0, *near = sampler->shares;
    int left = n;
    for (int k = 0; k < n; k++) {
        double log_prob = sampler->scores[k] - log_sum;
        entropy -= log_prob * exp(log_prob);
    }
    for (int k = 0; k < n; k++) near[k] = -fabs(-(sampler->scores[k] - log_sum) - entropy);
    make_heap(near, sampler->heap, n);
    while (left && reached < mass) {
        int32_t place = take_first(near, sampler->heap, &left);
        reached += exp(sampler->scores[place] - log_sum);
        farthest = near[place];
    }
    if (reached < mass) return n;
    for (int k = 0; k < n; k++) sampler->kept[k] = near[k] >= farthest;
    return keep_some(sampler, n);
}

static int filter(ch_sampler *sampler, int n) {
    const ch_drawing *drawing = sampler->drawing;
    if (drawing->top_k > 0) n = keep_top(sampler, n, drawing->top_k);
    if (drawing->top_p < 1) n = keep_nucleus(sampler, n, drawing->top_p);
    if (drawing->min_p > 0) n = keep_likely(sampler, n, log(drawing->min_p));
    if (drawing->typical_p < 1) n = keep_typical(sampler, n, drawing->typical_p);
    return n;
}

/* Returns the first piece at which the running sum of probabilities exceeds the number. */
static int32_t draw(ch_sampler *sampler, int n, double number) {
    double best = sampler->scores[0], total = 0;
    for (int k = 1; k < n; k++) best = sampler->scores[k] > best ? sampler->scores[k] : best;
    double sum = exponentials(sampler, n, best);
    for (int k = 0; k < n; k++) total += sampler->shares[k] / sum;
    double goal = number * total, most = nextafter(total, 0), reached = 0;
    if (goal > most) goal = most;
    for (int k = 0; k < n; k++) {
        double share = sampler->shares[k] / sum;
        reached += share;
        if (share > 0 && reached > goal) return sampler->ids[k];
    }
    return sampler->ids[n - 1];
}

/* ------------------------------------------------------------------------------------------------------------------- samplers */

void ch_sampler_free(ch_sampler *sampler) {
    if (!sampler) return;
    void *blocks[] = {sampler->logits, sampler->counts, sampler->scores, sampler->shares,
                      sampler->ids,    sampler->heap,   sampler->kept};
    for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++) free(blocks[k]);
    free(sampler);
}

int ch_check_drawing(const ch_drawing *drawing, int vocab) {
    return ch_check_ids(drawing->forbidden, drawing->forbidden_count, vocab) ||
           ch_check_ids(drawing->ends, drawing->ends_count, vocab) || ch_check_ids(&drawing->eos, 1, vocab) ? -1 : 0;
}

ch_sampler *ch_sampler_new(const char *instructions, int vocab) {
    const ch_kernels *kernels = ch_kernels_of(instructions);
    if (!kernels) return NULL;
    ch_sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler) {
        ch_fail("no memory to draw from %d pieces", vocab);
        return NULL;
    }
    size_t n = vocab;
    *sampler = (ch_sampler){.kernels = kernels, .vocab = vocab};
    sampler->logits = malloc(n * sizeof *sampler->logits);
    sampler->counts = calloc(n, sizeof *sampler->counts);
    sampler->scores = malloc(n * sizeof *sampler->scores);
    sampler->shares = malloc(n * sizeof *sampler->shares);
    sampler->ids = malloc(n * sizeof *sampler->ids);
    sampler->heap = malloc(n * sizeof *sampler->heap);
    sampler->kept = malloc(n);
    if (sampler->logits && sampler->counts && sampler->scores && sampler->shares && sampler->ids && sampler->heap &&
        sampler->kept)
        return sampler;
    ch_sampler_free(sampler);
    ch_fail("no memory to draw from %d pieces", vocab);
    return NULL;
}

/* Draws from the adjusted logits of a row; -1 where no piece is left. */
static int draw_row(ch_sampler *sampler, double number) {
    const float *logits = sampler->logits;
    int best = 0;
    for (int piece = 1; piece < sampler->vocab; piece++)
        if (logits[piece] > logits[best]) best = piece;
    if (logits[best] == -INFINITY) return -1;
    if (sampler->drawing->temperature == 0) return best;
    return draw(sampler, filter(sampler, list_pieces(sampler, logits, logits[best])), number);
}

static int sample_one(ch_sampler *sampler, const float *logits, const ch_written *text, int32_t *piece, float *log_prob) {
    if (text->prompt < 0 || text->length < text->prompt)
        return ch_fail("%d pieces, %d of them a prompt: must be fewer", text->length, text->prompt);
    if (ch_check_ids(text->ids, text->length, sampler->vocab)) return -1;
    sampler->drawing = text->drawing;
    memcpy(sampler->logits, logits, sampler->vocab * sizeof *logits);
    if (ch_adjust(sampler, sampler->logits, text->ids, text->length, text->prompt)) return -1;
    *piece = draw_row(sampler, text->number);
    if (*piece < 0) return ch_fail("the best logit is -inf, so no piece can be chosen");
    *log_prob = logits[*piece] - sampler->kernels->log_sum_exp(logits, sampler->vocab);
    return 0;
}

int ch_sample(ch_sampler *sampler, const float *logits, int stride, const ch_written *texts, int count, int32_t *pieces,
              float *log_probs) {
    int drawn = 0;
    while (drawn < count &&
           !sample_one(sampler, logits + (size_t)drawn * stride, &texts[drawn], &pieces[drawn], &log_probs[drawn]))
        drawn++;
    return drawn;
}

void ch_best(const ch_sampler *sampler, const float *logits, int count, int32_t *pieces, float *log_probs) {
    float log_z = sampler->kernels->log_sum_exp(logits, sampler->vocab);
    sampler->kernels->top(logits, sampler->vocab, count, log_probs, pieces);
    for (int k = 0; k < count; k++) log_probs[k] -= log_z;
}
