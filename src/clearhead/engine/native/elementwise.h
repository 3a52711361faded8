/* Functions of one vector, and softmax: a part of kernels.c. */
#ifndef ELEMENTWISE_H
#define ELEMENTWISE_H

#include "kernels.h"
#include "vector.h"

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

#endif
