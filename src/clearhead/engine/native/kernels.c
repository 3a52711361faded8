/* The kernels, compiled once per instruction set over the operations of vector.h. */
#include "attention.h"
#include "attention_bytes.h"
#include "elementwise.h"
#include "product.h"

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

const ch_kernels TABLE = {
    NAME, product, quantize, normalize, unit_rms, attend, gate, softmax, log_sum_exp, top,
    round_groups, round_signed, attend_bytes,
};

#if defined(CH_NEON) && defined(__clang__)
#pragma clang attribute pop
#endif
