/* The kernels, compiled once per instruction set over the operations of vector.h.
 *
 * Every sum over the inputs of a product runs from the first input to the last in one accumulator per output, whatever
 * the number of rows in a tile: so the result of a row is the same, bit for bit, alone and in company. */
#include "kernels.h"
#include "vector.h"

/* ------------------------------------------------------------------------------------------------- functions of one vector */

INLINE vf vf_exp(vf x) { /* e^x within 2 units in the last place; -87.3 and below give 1e-38 */
    x = vf_min(vf_set(88.37f), vf_max(vf_set(-87.33f), x)); /* x last: NaN stays NaN */
    vf n = vf_round(vf_mul(x, vf_set(1.44269504f)));
    vf r = vf_fma(n, vf_set(-0.693359375f), x); /* ln 2 in two parts: the first has few digits, so that this is exact */
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vf p = vf_set(1.9875691500e-4f); /* Cephes' polynomial of e^r, |r| <= ln 2 / 2 */
    p = vf_fma(p, r, vf_set(1.3981999507e-3f));
    p = vf_fma(p, r, vf_set(8.3334519073e-3f));
    p = vf_fma(p, r, vf_set(4.1665795894e-2f));
    p = vf_fma(p, r, vf_set(1.6666665459e-1f));
    p = vf_fma(p, r, vf_set(5.0000001201e-1f));
    p = vf_add(vf_fma(vf_mul(r, r), p, r), vf_set(1.0f));
    return vf_mul(p, vf_pow2(n));
}

INLINE vf vf_sigmoid(vf x) {
    return vf_div(vf_set(1.0f), vf_add(vf_set(1.0f), vf_exp(vf_sub(vf_set(0.0f), x))));
}

INLINE vf vf_tanh(vf x) { /* 1 - 2 / (e^2|x| + 1), with the sign of x */
    vf e = vf_exp(vf_mul(vf_abs(x), vf_set(2.0f)));
    return vf_sign_of(vf_sub(vf_set(1.0f), vf_div(vf_set(2.0f), vf_add(e, vf_set(1.0f)))), x);
}

INLINE vf vf_erf(vf x) { /* Abramowitz and Stegun 7.1.26: off by at most 1.5e-7 */
    vf size = vf_abs(x);
    vf t = vf_div(vf_set(1.0f), vf_fma(vf_set(0.3275911f), size, vf_set(1.0f)));
    vf p = vf_set(1.061405429f);
    p = vf_fma(p, t, vf_set(-1.453152027f));
    p = vf_fma(p, t, vf_set(1.421413741f));
    p = vf_fma(p, t, vf_set(-0.284496736f));
    p = vf_mul(vf_fma(p, t, vf_set(0.254829592f)), t);
    vf e = vf_exp(vf_sub(vf_set(0.0f), vf_mul(size, size)));
    return vf_sign_of(vf_sub(vf_set(1.0f), vf_mul(p, e)), x);
}

INLINE vf vf_activate(vf x, int activation) {
    switch (activation) {
    case CH_RELU: return vf_max(vf_set(0.0f), x);
    case CH_GELU: return vf_mul(vf_mul(vf_set(0.5f), x), vf_add(vf_set(1.0f), vf_erf(vf_mul(x, vf_set(0.70710678f)))));
    case CH_GELU_TANH: { /* x sigmoid(2 u), 2 u = 2 sqrt(2 / pi) (x + 0.044715 x^3) */
        vf slope = vf_fma(vf_mul(x, x), vf_set(0.07135481627f), vf_set(1.59576912f));
        return vf_mul(x, vf_sigmoid(vf_mul(x, slope)));
    }
    case CH_SILU: return vf_mul(x, vf_sigmoid(x));
    case CH_SIGMOID: return vf_sigmoid(x);
    case CH_TANH: return vf_tanh(x);
    default: return x;
    }
}

/* ------------------------------------------------------------------------------------------------------------------ products
 * A tile is R rows by P panels, held in registers. R and P are constants of each copy, so that all loops over them are
 * unrolled. */

/* The end of a product: bias, activation and residual of a tile whose raw sums [rows][panels * 16] are given. */
static void finish(const ch_product *job, int row, int rows, int panel, int panels, const float *raw) {
    const float *bias = job->w->bias ? job->w->bias + panel * CH_PANEL : NULL;
    for (int r = 0; r < rows; r++, raw += panels * CH_PANEL) {
        size_t at = (size_t)(row + r) * job->y_stride + (size_t)panel * CH_PANEL;
        for (int k = 0; k < panels * CH_PANEL; k += LANES) {
            vf sum = vf_load(raw + k);
            if (bias) sum = vf_add(sum, vf_load(bias + k));
            if (job->then) sum = vf_activate(sum, job->then);
            if (job->residual) sum = vf_add(sum, vf_load(job->residual + at + k));
            vf_store(job->y + at + k, sum);
        }
    }
}

#define EACH_ROW _Pragma("GCC unroll 16") for (int r = 0; r < R; r++)
#define EACH_PART _Pragma("GCC unroll 32") for (int k = 0; k < P * PARTS; k++)

INLINE void f32_tile(const ch_product *job, int row, int panel, const int R, const int P) {
    const int inputs = job->w->inputs;
    const size_t panel_size = (size_t)inputs * CH_PANEL, stride = job->x_stride;
    const float *w = (const float *)job->w->weight + panel * panel_size;
    const float *x = job->x + row * stride;
    vf sums[TILE_ROWS][MOST_PARTS]; /* R and P * PARTS of them are used */
    EACH_ROW EACH_PART sums[r][k] = vf_set(0.0f);
    for (int i = 0; i < inputs; i++) {
        vf weights[MOST_PARTS];
        EACH_PART weights[k] = vf_load(w + (k / PARTS) * panel_size + (size_t)i * CH_PANEL + (k % PARTS) * LANES);
        EACH_ROW {
            vf input = vf_set(x[r * stride + i]);
            EACH_PART sums[r][k] = vf_fma(input, weights[k], sums[r][k]);
        }
    }
    float raw[TILE_ROWS * MOST_PARTS * LANES];
    EACH_ROW EACH_PART vf_store(raw + (r * P * PARTS + k) * LANES, sums[r][k]);
    finish(job, row, R, panel, P, raw);
}

INLINE void i8_tile(const ch_product *job, int row, int panel, const int R, const int P) {
    const int inputs = job->w->inputs;
    const size_t panel_size = (size_t)inputs * CH_PANEL;
    const int8_t *w = (const int8_t *)job->w->weight + panel * panel_size;
    const uint8_t *x = job->bytes + (size_t)row * inputs;
    vi sums[TILE_ROWS][MOST_PARTS];
    EACH_ROW EACH_PART sums[r][k] = vi_zero();
    for (int i = 0; i < inputs; i += 4) {
        EACH_PART {
            vq weights = vq_load(w + (k / PARTS) * panel_size + (size_t)i * CH_PANEL + (k % PARTS) * LANES * 4);
            EACH_ROW sums[r][k] = vi_dot(sums[r][k], vx_set(x + (size_t)r * inputs + i), weights);
        }
    }
    float raw[TILE_ROWS * MOST_PARTS * LANES];
    EACH_ROW EACH_PART {
        int output = panel * CH_PANEL + k * LANES;
        vf scale = vf_mul(vf_set(job->byte_scale[row + r]), vf_load(job->w->scale + output));
        vf sum = vi_float(vi_without_offset(sums[r][k], job->w->sums + output));
        vf_store(raw + (r * P * PARTS + k) * LANES, vf_mul(sum, scale));
    }
    finish(job, row, R, panel, P, raw);
}

typedef void tile_function(const ch_product *job, int row, int panel);

#define WIDE(R, P)                                                                                                   \
    static void f32_wide_##R(const ch_product *job, int row, int panel) { f32_tile(job, row, panel, R, P); }          \
    static void i8_wide_##R(const ch_product *job, int row, int panel) { i8_tile(job, row, panel, R, P); }
#define NARROW(R, P)                                                                                                 \
    static void f32_narrow_##R(const ch_product *job, int row, int panel) { f32_tile(job, row, panel, R, 1); }        \
    static void i8_narrow_##R(const ch_product *job, int row, int panel) { i8_tile(job, row, panel, R, 1); }
TILES(WIDE)
TILES(NARROW)
#define PANELS_OF(R, P) P,
#define F32_WIDE(R, P) f32_wide_##R,
#define F32_NARROW(R, P) f32_narrow_##R,
#define I8_WIDE(R, P) i8_wide_##R,
#define I8_NARROW(R, P) i8_narrow_##R,
static const int panels_of[] = {0, TILES(PANELS_OF)};
static tile_function *const f32_wide[] = {NULL, TILES(F32_WIDE)};
static tile_function *const f32_narrow[] = {NULL, TILES(F32_NARROW)};
static tile_function *const i8_wide[] = {NULL, TILES(I8_WIDE)};
static tile_function *const i8_narrow[] = {NULL, TILES(I8_NARROW)};

/* Rows of the next tile when so many are left: full tiles, and the last two of like size. */
static int tile_rows(int left) {
    if (left <= TILE_ROWS) return left;
    return left < 2 * TILE_ROWS ? (left + 1) / 2 : TILE_ROWS;
}

/* All rows meet a group of panels while those are in the second-level cache. */
#define GROUP 4

static void product(const ch_product *job, int first, int last) {
    int q = job->w->kind == CH_INT8;
    tile_function *const *wide = q ? i8_wide : f32_wide, *const *narrow = q ? i8_narrow : f32_narrow;
    int group = job->rows <= TILE_ROWS ? last - first : GROUP;
    for (int from = first; from < last; from += group) {
        int to = from + group < last ? from + group : last;
        for (int row = 0, n; row < job->rows; row += n) {
            n = tile_rows(job->rows - row);
            int panel = from;
            for (; panel + panels_of[n] <= to; panel += panels_of[n]) wide[n](job, row, panel);
            for (; panel < to; panel++) narrow[n](job, row, panel);
        }
    }
}

static float quantize(const float *x, int n, uint8_t *bytes) {
    vf most = vf_set(0.0f), odd = vf_set(0.0f); /* odd becomes NaN where an input is NaN or infinite */
    for (int i = 0; i < n; i += LANES) {
        most = vf_max(vf_abs(vf_load(x + i)), most);
        odd = vf_fma(vf_load(x + i), vf_set(0.0f), odd);
    }
    float largest = vf_largest(most);
    vf factor = vf_set(largest > 0.0f ? 127.0f / largest : 0.0f), bound = vf_set(127.0f);
    for (int i = 0; i < n; i += LANES) {
        vf whole = vf_round(vf_mul(vf_load(x + i), factor));
        vf_store_bytes(bytes + i, vf_max(vf_min(whole, bound), vf_sub(vf_set(0.0f), bound)));
    }
    return largest / 127.0f + vf_sum(odd);
}

/* --------------------------------------------------------------------------------------------------------------------- norms */

static float sum_of(const float *x, int n) {
    vf sum = vf_set(0.0f);
    int i = 0;
    for (; i + LANES <= n; i += LANES) sum = vf_add(sum, vf_load(x + i));
    float total = vf_sum(sum);
    for (; i < n; i++) total += x[i];
    return total;
}

static float squares_of(const float *x, int n, float mean) {
    vf sum = vf_set(0.0f), middle = vf_set(mean);
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf off = vf_sub(vf_load(x + i), middle);
        sum = vf_fma(off, off, sum);
    }
    float total = vf_sum(sum);
    for (; i < n; i++) total += (x[i] - mean) * (x[i] - mean);
    return total;
}

static void normalize(const ch_norm *norm, const float *x, int n, int padded, float *y) {
    float mean = norm->kind == CH_LAYER_NORM ? sum_of(x, n) / (float)n : 0.0f;
    float rate = 1.0f / sqrtf(squares_of(x, n, mean) / (float)n + norm->eps);
    int i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf out = vf_mul(vf_mul(vf_sub(vf_load(x + i), vf_set(mean)), vf_set(rate)), vf_load(norm->gain + i));
        vf_store(y + i, norm->bias ? vf_add(out, vf_load(norm->bias + i)) : out);
    }
    for (; i < n; i++) y[i] = (x[i] - mean) * rate * norm->gain[i] + (norm->bias ? norm->bias[i] : 0.0f);
    for (; i < padded; i++) y[i] = 0.0f;
}

static void unit_rms(float *x, int n) {
    float rate = 1.0f / sqrtf(squares_of(x, n, 0.0f) / (float)n + 1.1920929e-7f);
    for (int i = 0; i < n; i++) x[i] *= rate;
}

/* ----------------------------------------------------------------------------------------------- softmax, gates and rankings */

/* Turns x into e^(x - largest) in place and returns the sum; x has room up to a multiple of LANES. */
static float exp_all(float *x, int n) {
    for (int i = n; i % LANES; i++) x[i] = -INFINITY;
    vf most = vf_set(-INFINITY), sum = vf_set(0.0f);
    for (int i = 0; i < n; i += LANES) most = vf_max(most, vf_load(x + i));
    vf largest = vf_set(vf_largest(most));
    for (int i = 0; i < n; i += LANES) {
        vf e = vf_exp(vf_sub(vf_load(x + i), largest));
        vf_store(x + i, e);
        sum = vf_add(sum, e);
    }
    return vf_sum(sum);
}

static void softmax(float *x, int n) {
    float share = 1.0f / exp_all(x, n);
    for (int i = 0; i < n; i++) x[i] *= share;
}

static void gate(int activation, float *x, int n, float *y) {
    for (int i = 0; i < n; i += LANES)
        vf_store(y + i, vf_mul(vf_activate(vf_load(x + i), activation), vf_load(x + n + i)));
}

static float log_sum_exp(const float *x, int n) {
    vf most = vf_set(-INFINITY), sum = vf_set(0.0f);
    int whole = n / LANES * LANES;
    for (int i = 0; i < whole; i += LANES) most = vf_max(most, vf_load(x + i));
    float largest = vf_largest(most);
    for (int i = whole; i < n; i++) largest = x[i] > largest ? x[i] : largest;
    for (int i = 0; i < whole; i += LANES) sum = vf_add(sum, vf_exp(vf_sub(vf_load(x + i), vf_set(largest))));
    float total = vf_sum(sum);
    for (int i = whole; i < n; i++) total += expf(x[i] - largest);
    return largest + logf(total);
}

static void insert(float value, int id, int count, float *values, int32_t *ids) {
    int place = count - 1;
    for (; place > 0 && value > values[place - 1]; place--) {
        values[place] = values[place - 1];
        ids[place] = ids[place - 1];
    }
    values[place] = value;
    ids[place] = id;
}

static void top(const float *x, int n, int count, float *values, int32_t *ids) {
    for (int k = 0; k < count; k++) {
        values[k] = -INFINITY;
        ids[k] = -1;
    }
    for (int i = 0; i < n; i += LANES) {
        int lanes = n - i < LANES ? n - i : LANES;
        if (lanes == LANES && !vf_any_above(vf_load(x + i), vf_set(values[count - 1]))) continue;
        for (int k = 0; k < lanes; k++)
            if (x[i + k] > values[count - 1]) insert(x[i + k], i + k, count, values, ids);
    }
}

/* ----------------------------------------------------------------------------------------------------------------- attention */

INLINE size_t place_of(const ch_attention *a, int position) {
    size_t slot = a->slots ? (size_t)a->slots[position] * a->slot_stride : 0;
    return slot + (size_t)position * a->position_stride;
}

/* Scores of one head's query with all keys, four keys at a time; what is beyond the last key is written over later. */
static void score(const ch_attention *a, const float *q, const float *keys, float *scores) {
    for (int from = 0; from < a->length; from += 4) {
        const float *key[4];
        vf sums[4];
        for (int k = 0; k < 4; k++) {
            key[k] = keys + place_of(a, from + k < a->length ? from + k : a->length - 1);
            sums[k] = vf_set(0.0f);
        }
        for (int i = 0; i < a->head; i += LANES) {
            vf part = vf_load(q + i);
            for (int k = 0; k < 4; k++) sums[k] = vf_fma(part, vf_load(key[k] + i), sums[k]);
        }
        vf_sums(scores + from, sums);
    }
}

/* The weighted sum of `width` features of the values, a constant number of vectors in registers. */
INLINE void mix(const ch_attention *a, const float *weights, const float *values, float share, float *y, const int width) {
    vf sums[width / LANES];
#pragma GCC unroll 16
    for (int k = 0; k < width / LANES; k++) sums[k] = vf_set(0.0f);
    for (int p = 0; p < a->length; p++) {
        const float *value = values + place_of(a, p);
        vf weight = vf_set(weights[p]);
#pragma GCC unroll 16
        for (int k = 0; k < width / LANES; k++) sums[k] = vf_fma(weight, vf_load(value + k * LANES), sums[k]);
    }
#pragma GCC unroll 16
    for (int k = 0; k < width / LANES; k++) vf_store(y + k * LANES, vf_mul(sums[k], vf_set(share)));
}

static void penalize(const ch_attention *a, int head, float *scores) { /* ALiBi, see nn/position.py */
    for (int p = 0; p < a->length; p++) {
        int back = a->position - p;
        scores[p] -= back >= 0 ? a->left[head] * (float)back : a->right[head] * (float)-back;
    }
}

static void attend(const ch_attention *a, const float *q, float *y, float *scores) {
    for (int head = 0; head < a->heads; head++, q += a->head, y += a->head) {
        size_t at = (size_t)(head / a->sharing) * a->head_stride;
        score(a, q, a->keys + at, scores);
        for (int p = 0; p < a->length; p++) scores[p] *= a->scale;
        if (a->left) penalize(a, head, scores);
        float share = 1.0f / exp_all(scores, a->length);
        int i = 0;
        for (; i + 8 * LANES <= a->head; i += 8 * LANES) mix(a, scores, a->values + at + i, share, y + i, 8 * LANES);
        for (; i < a->head; i += CH_PANEL) mix(a, scores, a->values + at + i, share, y + i, CH_PANEL);
    }
}

const ch_kernels TABLE = {
    NAME, product, quantize, normalize, unit_rms, attend, gate, softmax, log_sum_exp, top,
};

#if defined(CH_NEON) && defined(__clang__)
#pragma clang attribute pop
#endif
