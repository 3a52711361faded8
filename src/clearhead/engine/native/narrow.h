/* Products with weights of bfloat16 and of int4: a part of product.h, whose words it uses. */
#ifndef NARROW_H
#define NARROW_H

INLINE int groups_of(int inputs) { return (inputs + CH_GROUP - 1) / CH_GROUP; }

/* As f32_tile: a weight of bfloat16 is the upper half of a float32, and sums are float32. */
INLINE void bf16_tile(const ch_product *job, int row, int panel, const int R, const int P) {
    const int inputs = job->w->inputs;
    const size_t panel_size = (size_t)inputs * CH_PANEL, stride = job->x_stride;
    const uint16_t *w = (const uint16_t *)job->w->weight + panel * panel_size;
    const float *x = job->x + row * stride;
    vf sums[TILE_ROWS][MOST_PARTS];
    EACH_ROW EACH_PART sums[r][k] = vf_set(0.0f);
    for (int i = 0; i < inputs; i++) {
        vf weights[MOST_PARTS];
        EACH_PART weights[k] = vf_widen(w + (k / PARTS) * panel_size + (size_t)i * CH_PANEL + (k % PARTS) * LANES);
        EACH_ROW {
            vf input = vf_set(x[r * stride + i]);
            EACH_PART sums[r][k] = vf_fma(input, weights[k], sums[r][k]);
        }
    }
    float raw[TILE_ROWS * MOST_PARTS * LANES]; /* one copy of the end, where FINISH_TILE has three */
    EACH_ROW EACH_PART vf_store(raw + (r * P * PARTS + k) * LANES, sums[r][k]);
    finish_all(job, row, R, panel, P, raw);
}

static void bf16_single(const ch_product *job, int row, int panel) { bf16_tile(job, row, panel, 1, 1); }

/* The sum over a group is of whole numbers, and exact; a scale of each output and group makes it a float. */
INLINE void i4_tile(const ch_product *job, int row, int panel, const int R, const int P) {
    const int groups = groups_of(job->w->inputs), lines = CH_GROUP / 8;
    const size_t line = 4 * CH_PANEL, panel_size = groups * lines * line, scales = (size_t)groups * CH_PANEL;
    const uint8_t *w = (const uint8_t *)job->w->weight + panel * panel_size;
    const uint16_t *scale = (const uint16_t *)(const void *)job->w->scale + panel * scales;
    const uint8_t *x = job->bytes + (size_t)row * groups * CH_GROUP;
    const int32_t *offsets = job->offsets + (size_t)row * groups;
    vf sums[TILE_ROWS][MOST_PARTS];
    EACH_ROW EACH_PART sums[r][k] = vf_set(0.0f);
    for (int g = 0; g < groups; g++) {
        vg dots[TILE_ROWS][MOST_PARTS];
        EACH_ROW EACH_PART dots[r][k] = vg_zero();
        for (int l = 0; l < lines; l++) EACH_PART {
            const uint8_t *from = w + (k / PARTS) * panel_size + (g * lines + l) * line + (k % PARTS) * LANES * 4;
            v4 weights = v4_load(from);
            EACH_ROW {
                const uint8_t *eight = x + ((size_t)r * groups + g) * CH_GROUP + 8 * l;
                dots[r][k] = vg_dot(dots[r][k], vx_set(eight), vx_set(eight + 4), weights);
            }
        }
        EACH_PART {
            vf share = vf_widen(scale + (k / PARTS) * scales + (size_t)g * CH_PANEL + (k % PARTS) * LANES);
            EACH_ROW sums[r][k] = vf_fma(vg_float(dots[r][k], offsets[r * groups + g]), share, sums[r][k]);
        }
    }
    EACH_ROW EACH_PART sums[r][k] = vf_mul(sums[r][k], vf_set(job->byte_scale[row + r]));
    FINISH_TILE
}

#endif
