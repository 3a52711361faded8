/* Products with packed weights: a part of kernels.c.
 *
 * A tile is R rows by P panels, held in registers. R and P are constants of each copy, so that all loops over them are
 * unrolled. Every sum over the inputs runs from the first input to the last in one accumulator per output, whatever
 * the number of rows in a tile: so the result of a row is the same, bit for bit, alone and in company. */
#ifndef PRODUCT_H
#define PRODUCT_H

#include "elementwise.h"

/* The end of a product for some sums of one output each: bias, activation and residual. */
INLINE void finish(const ch_product *job, int row, int output, vf sum, const int then) {
    size_t at = (size_t)row * job->y_stride + (size_t)output;
    if (job->w->bias) sum = vf_add(sum, vf_load(job->w->bias + output));
    if (then) sum = vf_activate(sum, then);
    if (job->residual) sum = vf_add(sum, vf_load(job->residual + at));
    vf_store(job->y + at, sum);
}

/* The same for a tile [rows][panels * 16] in memory: activations are long, and stand here once. */
static void finish_all(const ch_product *job, int row, int rows, int panel, int panels, const float *raw) {
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < panels * CH_PANEL; k += LANES, raw += LANES)
            finish(job, row + r, panel * CH_PANEL + k, vf_load(raw), job->then);
}

#define EACH_ROW _Pragma("GCC unroll 16") for (int r = 0; r < R; r++)
#define EACH_PART _Pragma("GCC unroll 32") for (int k = 0; k < P * PARTS; k++)

#define FINISH_AS(THEN) EACH_ROW EACH_PART finish(job, row + r, panel * CH_PANEL + k * LANES, sums[r][k], THEN);
#define FINISH_TILE                                                                                                  \
    if (job->then == CH_NONE) {                                                                                      \
        FINISH_AS(CH_NONE)                                                                                           \
    } else if (job->then == CH_RELU) {                                                                               \
        FINISH_AS(CH_RELU)                                                                                           \
    } else {                                                                                                         \
        float raw[TILE_ROWS * MOST_PARTS * LANES];                                                                   \
        EACH_ROW EACH_PART vf_store(raw + (r * P * PARTS + k) * LANES, sums[r][k]);                                  \
        finish_all(job, row, R, panel, P, raw);                                                                      \
    }

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
    FINISH_TILE
}

#define EACH_PAIR _Pragma("GCC unroll 16") for (int from = 0; from < P * PARTS; from += pair)
#define EACH_OF_PAIR _Pragma("GCC unroll 2") for (int k = 0; k < pair; k++)

/* What part k of a panel's, or of a wider tile's, whole sums stand for. */
INLINE vf i8_float(const ch_product *job, int row, int panel, const int k, vi whole) {
    int output = panel * CH_PANEL + k * LANES;
    const int32_t *of_weights = job->w->sums + 2 * (panel + k / PARTS) * CH_PANEL + k % PARTS * LANES;
    vf scale = vf_mul(vf_set(job->byte_scale[row]), vf_load(job->w->scale + output));
    return vf_mul(vi_float(vi_whole(whole, of_weights, of_weights + CH_PANEL)), scale);
}

INLINE void i8_tile(const ch_product *job, int row, int panel, const int R, const int P) {
    const int inputs = job->w->inputs;
    const size_t panel_size = (size_t)inputs * CH_PANEL;
    const int8_t *w = (const int8_t *)job->w->weight + panel * panel_size;
    const uint8_t *x = job->bytes + (size_t)row * inputs;
    const int pair = P * PARTS < 2 ? 1 : 2; /* vectors of weights that are in registers at a time */
    vi steps[TILE_ROWS][MOST_PARTS]; /* whole numbers */
    EACH_ROW EACH_PART steps[r][k] = vi_zero();
    for (int i = 0; i < inputs; i += 4) {
        EACH_PAIR {
            vq weights[2];
            EACH_OF_PAIR {
                const size_t part = from + k;
                weights[k] = vq_load(w + part / PARTS * panel_size + (size_t)i * CH_PANEL + part % PARTS * LANES * 4);
            }
            EACH_ROW {
                vx input = vx_set(x + (size_t)r * inputs + i);
                EACH_OF_PAIR steps[r][from + k] = vi_dot(steps[r][from + k], input, weights[k]);
            }
        }
    }
    vf sums[TILE_ROWS][MOST_PARTS];
    EACH_ROW EACH_PART sums[r][k] = i8_float(job, row + r, panel, k, steps[r][k]);
    FINISH_TILE
}

/* One row takes as long as its weights need to come, and those come fastest in one stream. Whole numbers may be added in
 * any order: so one panel has several sums, for as many lines of its weights. */
#define LINES_AT_ONCE (8 / PARTS < 4 ? 4 : 8 / PARTS)
#define EACH_LINE _Pragma("GCC unroll 8") for (int l = 0; l < LINES_AT_ONCE; l++)
#define AHEAD 2048 /* bytes */

static void i8_single(const ch_product *job, int row, int panel) {
    const int inputs = job->w->inputs, R = 1, P = 1;
    const int8_t *w = (const int8_t *)job->w->weight + (size_t)panel * inputs * CH_PANEL;
    const uint8_t *x = job->bytes + (size_t)row * inputs;
    vi steps[LINES_AT_ONCE][PARTS];
    EACH_LINE EACH_PART steps[l][k] = vi_zero();
    int i = 0;
    for (; i + 4 * LINES_AT_ONCE <= inputs; i += 4 * LINES_AT_ONCE) {
        EACH_LINE {
            const int8_t *line = w + (size_t)(i + 4 * l) * CH_PANEL;
            __builtin_prefetch(line + AHEAD);
            EACH_PART steps[l][k] = vi_dot(steps[l][k], vx_set(x + i + 4 * l), vq_load(line + 4 * k * LANES));
        }
    }
    for (; i < inputs; i += 4)
        EACH_PART steps[0][k] = vi_dot(steps[0][k], vx_set(x + i), vq_load(w + (size_t)i * CH_PANEL + 4 * k * LANES));
    vf sums[1][PARTS];
    EACH_PART {
        vi sum = steps[0][k];
        for (int l = 1; l < LINES_AT_ONCE; l++) sum = vi_add(sum, steps[l][k]);
        sums[0][k] = i8_float(job, row, panel, k, sum);
    }
    FINISH_TILE
}

#include "narrow.h"

typedef void tile_function(const ch_product *job, int row, int panel);

#define WIDE(R, P)                                                                                                   \
    static void f32_wide_##R(const ch_product *job, int row, int panel) { f32_tile(job, row, panel, R, P); }          \
    static void i8_wide_##R(const ch_product *job, int row, int panel) {                                              \
        if (R > 1) i8_tile(job, row, panel, R, P);                                                                    \
        for (int p = 0; R == 1 && p < P; p++) i8_single(job, row, panel + p);                                         \
    }                                                                                                                \
    static void bf16_wide_##R(const ch_product *job, int row, int panel) { bf16_tile(job, row, panel, R, P); }        \
    static void i4_wide_##R(const ch_product *job, int row, int panel) { /* with its dots one panel takes enough */   \
        for (int p = 0; p < P; p++) i4_narrow_##R(job, row, panel + p);                                               \
    }
#define NARROW(R, P)                                                                                                 \
    static void f32_narrow_##R(const ch_product *job, int row, int panel) { f32_tile(job, row, panel, R, 1); }        \
    static void i8_narrow_##R(const ch_product *job, int row, int panel) {                                            \
        if (R > 1) i8_tile(job, row, panel, R, 1);                                                                    \
        else i8_single(job, row, panel);                                                                              \
    }                                                                                                                \
    static void bf16_narrow_##R(const ch_product *job, int row, int panel) { /* what wide ones leave, seldom any */    \
        for (int r = 0; r < R; r++) bf16_single(job, row + r, panel);                                                 \
    }                                                                                                                \
    static void i4_narrow_##R(const ch_product *job, int row, int panel) { i4_tile(job, row, panel, R, 1); }
TILES(NARROW)
TILES(WIDE)
#define PANELS_OF(R, P) P,
#define F32_WIDE(R, P) f32_wide_##R,
#define F32_NARROW(R, P) f32_narrow_##R,
#define I8_WIDE(R, P) i8_wide_##R,
#define I8_NARROW(R, P) i8_narrow_##R,
#define BF16_WIDE(R, P) bf16_wide_##R,
#define BF16_NARROW(R, P) bf16_narrow_##R,
#define I4_WIDE(R, P) i4_wide_##R,
#define I4_NARROW(R, P) i4_narrow_##R,
static const int panels_of[] = {0, TILES(PANELS_OF)};
static const struct { tile_function *wide[TILE_ROWS + 1], *narrow[TILE_ROWS + 1]; } tiles[] = {
    [CH_FLOAT32] = {{NULL, TILES(F32_WIDE)}, {NULL, TILES(F32_NARROW)}},
    [CH_INT8] = {{NULL, TILES(I8_WIDE)}, {NULL, TILES(I8_NARROW)}},
    [CH_BFLOAT16] = {{NULL, TILES(BF16_WIDE)}, {NULL, TILES(BF16_NARROW)}},
    [CH_INT4] = {{NULL, TILES(I4_WIDE)}, {NULL, TILES(I4_NARROW)}},
};

/* Rows of the next tile when so many are left: full tiles, and the last two of like size. */
static int tile_rows(int left) {
    if (left <= TILE_ROWS) return left;
    return left < 2 * TILE_ROWS ? (left + 1) / 2 : TILE_ROWS;
}

/* All rows meet a group of panels while those are in the second-level cache. */
#define GROUP 4

static void product(const ch_product *job, int first, int last) {
    tile_function *const *wide = tiles[job->w->kind].wide, *const *narrow = tiles[job->w->kind].narrow;
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

static float round_signed(const float *x, int n, int8_t *bytes) {
    float scale = quantize(x, n, (uint8_t *)bytes);
    for (int i = 0; BYTE_OFFSET && i < n; i++) bytes[i] = (int8_t)(bytes[i] ^ BYTE_OFFSET); /* 128 is the sign bit */
    return scale;
}

static float round_groups(const float *x, int n, int8_t *bytes, int32_t *offsets) {
    int groups = groups_of(n);
    float scale = round_signed(x, n, bytes);
    memset(bytes + n, 0, groups * CH_GROUP - n);
    for (int g = 0; g < groups; g++) {
        int sum = 0;
        for (int i = 0; i < CH_GROUP; i++) sum += bytes[g * CH_GROUP + i];
        offsets[g] = 8 * sum;
    }
    return scale;
}

#endif
