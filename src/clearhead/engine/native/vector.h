/* A few vector operations, the same names for every instruction set; kernels.c is written in these alone.
 *
 * vf: LANES floats. vi: LANES sums of 32 bits. vq: 4 weights of 8 bits for each of LANES outputs.
 * TILES: which tiles of rows x panels the registers hold, by rows; MOST_PARTS: vectors of the widest; see kernels.c.
 * BYTE_OFFSET: what is added to inputs of 8 bits.
 * v4: weights of 4 bits and 8 inputs for each of LANES outputs; vg: sums over a group of them; see clearhead.h.
 * vf_max and vf_min of a number and NaN are the second of them, so that NaN can be kept or dropped.
 * A fused multiply-add is written as such (vf_fma): the compiler is told to make none of its own, so that a result
 * never depends on how a loop was unrolled. */
#ifndef VECTOR_H
#define VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#if defined(CH_AVX2)
#include <immintrin.h>
#define TABLE ch_kernels_avx2
#define NAME "avx2"
#define LANES 8
#define MOST_PARTS 8
#define TILES(X) X(1, 4) X(2, 2) X(3, 2) X(4, 1) X(5, 1) X(6, 1)
#define TILE_ROWS 6
#define BYTE_OFFSET 0
typedef __m256 vf;
typedef __m256i vi;
typedef __m256i vx;
typedef struct { __m256i flips, sizes; } vq;
INLINE vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
INLINE vf vf_set(float a) { return _mm256_set1_ps(a); }
INLINE vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
INLINE vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf vf_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
INLINE vf vf_sign_of(vf size, vf sign) {
    vf bit = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(bit, size), _mm256_and_ps(bit, sign));
}
INLINE vf vf_pow2(vf whole) { /* 2^whole */
    __m256i n = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(n, 23));
}
INLINE int vf_any_above(vf a, vf b) { return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)); }
INLINE float vf_sum(vf a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
INLINE float vf_largest(vf a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
INLINE void vf_sums(float *out, const vf a[4]) { /* the sum of each of four */
    __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(a[0], a[1]), _mm256_hadd_ps(a[2], a[3]));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}
INLINE void vf_store_bytes(uint8_t *p, vf whole) { /* of numbers from -127 to 127 */
    __m256i n = _mm256_cvtps_epi32(whole);
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(n), _mm256_extracti128_si256(n, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packs_epi16(words, words));
}
INLINE vi vi_zero(void) { return _mm256_setzero_si256(); }
INLINE vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
INLINE vi vi_whole(vi a, const int32_t *sums, const int32_t *negatives) { /* see vi_dot */
    (void)sums;
    return _mm256_add_epi32(a, _mm256_loadu_si256((const __m256i *)negatives));
}
INLINE vf vi_float(vi a) { return _mm256_cvtepi32_ps(a); }
INLINE vq vq_load(const int8_t *p) {
    __m256i weights = _mm256_loadu_si256((const __m256i *)p);
    return (vq){_mm256_cmpgt_epi8(_mm256_setzero_si256(), weights), _mm256_abs_epi8(weights)};
}
INLINE vx vx_set(const uint8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}
/* A product of signed bytes is missing here, so |w| meets x where w >= 0, and ~x = -x - 1 where w < 0; the |w| too few
 * of negative weights come back in vi_whole. To flip all bits is faster than to change signs (vpsignb), and as exact: a
 * pair's sum is from -2 * 127 * 128 to 2 * 127 * 127, within 16 bits. */
INLINE vi vi_dot(vi sum, vx x, vq q) {
    __m256i pairs = _mm256_maddubs_epi16(q.sizes, _mm256_xor_si256(x, q.flips));
    __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    /* one after another: with all rows begun at once, compilers run out of registers and keep sums in memory */
    __asm__ volatile("vpaddd %1, %0, %0" : "+x"(sum) : "x"(fours));
    return sum;
}
INLINE vf vf_widen(const uint16_t *p) { /* of bfloat16 */
    __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
}
INLINE vf vf_bytes(const int8_t *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p))); }
typedef struct { __m256i low, high; } v4;
typedef __m256i vg; /* pairs of sums of 16 bits: 16 products of at most 15 * 127 are below 2^15 */
INLINE v4 v4_load(const uint8_t *p) {
    __m256i both = _mm256_loadu_si256((const __m256i *)p), half = _mm256_set1_epi8(15);
    return (v4){_mm256_and_si256(both, half), _mm256_and_si256(_mm256_srli_epi16(both, 4), half)};
}
INLINE vg vg_zero(void) { return _mm256_setzero_si256(); }
INLINE vg vg_dot(vg sum, vx low, vx high, v4 w) {
    return _mm256_add_epi16(_mm256_add_epi16(sum, _mm256_maddubs_epi16(w.low, low)), _mm256_maddubs_epi16(w.high, high));
}
INLINE vf vg_float(vg sum, int32_t offset) {
    __m256i whole = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(whole, _mm256_set1_epi32(offset)));
}

#elif defined(CH_AVX512)
#include <immintrin.h>
#define TABLE ch_kernels_avx512
#define NAME "avx512"
#define LANES 16
#define MOST_PARTS 8
#define TILES(X) \
    X(1, 8) X(2, 4) X(3, 4) X(4, 4) X(5, 4) X(6, 4) X(7, 2) X(8, 2) X(9, 2) X(10, 2) X(11, 2) X(12, 2)
#define TILE_ROWS 12
#define BYTE_OFFSET 128 /* inputs are unsigned: x + 128; what that adds is taken away with the sums of the weights */
typedef __m512 vf;
typedef __m512i vi;
typedef __m512i vx;
typedef __m512i vq;
INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
INLINE vf vf_set(float a) { return _mm512_set1_ps(a); }
INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf vf_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf vf_abs(vf a) { return _mm512_abs_ps(a); }
INLINE vf vf_sign_of(vf size, vf sign) {
    vf bit = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(bit, size), _mm512_and_ps(bit, sign));
}
INLINE vf vf_pow2(vf whole) {
    __m512i n = _mm512_add_epi32(_mm512_cvtps_epi32(whole), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(n, 23));
}
INLINE int vf_any_above(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
INLINE float vf_sum(vf a) { return _mm512_reduce_add_ps(a); }
INLINE float vf_largest(vf a) { return _mm512_reduce_max_ps(a); }
INLINE void vf_sums(float *out, const vf a[4]) {
    __m512 low = _mm512_add_ps(_mm512_unpacklo_ps(a[0], a[1]), _mm512_unpackhi_ps(a[0], a[1]));
    __m512 high = _mm512_add_ps(_mm512_unpacklo_ps(a[2], a[3]), _mm512_unpackhi_ps(a[2], a[3]));
    __m512d left = _mm512_castps_pd(low), right = _mm512_castps_pd(high);
    __m512 fours = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(left, right)),
                                 _mm512_castpd_ps(_mm512_unpackhi_pd(left, right)));
    __m256 twos = _mm256_add_ps(_mm512_castps512_ps256(fours), _mm512_extractf32x8_ps(fours, 1));
    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(twos), _mm256_extractf128_ps(twos, 1)));
}
INLINE void vf_store_bytes(uint8_t *p, vf whole) {
    __m512i n = _mm512_add_epi32(_mm512_cvtps_epi32(whole), _mm512_set1_epi32(BYTE_OFFSET));
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(n));
}
INLINE vi vi_zero(void) { return _mm512_setzero_si512(); }
INLINE vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
INLINE vi vi_whole(vi a, const int32_t *sums, const int32_t *negatives) { /* a - 128 sums */
    (void)negatives;
    return _mm512_sub_epi32(a, _mm512_slli_epi32(_mm512_loadu_si512(sums), 7));
}
INLINE vf vi_float(vi a) { return _mm512_cvtepi32_ps(a); }
INLINE vq vq_load(const int8_t *p) { return _mm512_loadu_si512(p); }
INLINE vx vx_set(const uint8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}
/* As written, for compilers copy the sum of every dot product, and so run out of registers. */
INLINE vi vi_dot(vi sum, vx x, vq q) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(q));
    return sum;
}
INLINE vf vf_widen(const uint16_t *p) { /* of bfloat16 */
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}
INLINE vf vf_bytes(const int8_t *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p))); }
typedef struct { __m512i low, high; } v4;
typedef __m512i vg;
INLINE v4 v4_load(const uint8_t *p) {
    __m512i both = _mm512_loadu_si512(p), half = _mm512_set1_epi8(15);
    return (v4){_mm512_and_si512(both, half), _mm512_and_si512(_mm512_srli_epi16(both, 4), half)};
}
INLINE vg vg_zero(void) { return _mm512_setzero_si512(); }
INLINE vg vg_dot(vg sum, vx low, vx high, v4 w) { /* here the weights are unsigned, and the inputs signed */
    return vi_dot(vi_dot(sum, w.low, low), w.high, high);
}
INLINE vf vg_float(vg sum, int32_t offset) {
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, _mm512_set1_epi32(offset)));
}

#elif defined(CH_NEON)
#if defined(__clang__) /* dot products are asked for here: compilers spell the flag in different ways */
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#include <arm_neon.h>
#define TABLE ch_kernels_neon
#define NAME "neon"
#define LANES 4
#define MOST_PARTS 16
#define TILES(X) X(1, 4) X(2, 2) X(3, 2) X(4, 1) X(5, 1) X(6, 1)
#define TILE_ROWS 6
#define BYTE_OFFSET 0
typedef float32x4_t vf;
typedef int32x4_t vi;
typedef int8x16_t vx;
typedef int8x16_t vq;
INLINE vf vf_load(const float *p) { return vld1q_f32(p); }
INLINE void vf_store(float *p, vf a) { vst1q_f32(p, a); }
INLINE vf vf_set(float a) { return vdupq_n_f32(a); }
INLINE vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
INLINE vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
INLINE vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
INLINE vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
INLINE vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
INLINE vf vf_max(vf a, vf b) { return vmaxq_f32(a, b); }
INLINE vf vf_min(vf a, vf b) { return vminq_f32(a, b); }
INLINE vf vf_round(vf a) { return vrndnq_f32(a); }
INLINE vf vf_abs(vf a) { return vabsq_f32(a); }
INLINE vf vf_sign_of(vf size, vf sign) { return vbslq_f32(vdupq_n_u32(0x80000000u), sign, size); }
INLINE vf vf_pow2(vf whole) {
    int32x4_t n = vaddq_s32(vcvtnq_s32_f32(whole), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(n, 23));
}
INLINE int vf_any_above(vf a, vf b) { return vmaxvq_u32(vcgtq_f32(a, b)) != 0; }
INLINE float vf_sum(vf a) { return vaddvq_f32(a); }
INLINE float vf_largest(vf a) { return vmaxvq_f32(a); }
INLINE void vf_sums(float *out, const vf a[4]) {
    vst1q_f32(out, vpaddq_f32(vpaddq_f32(a[0], a[1]), vpaddq_f32(a[2], a[3])));
}
INLINE void vf_store_bytes(uint8_t *p, vf whole) {
    int16x4_t words = vqmovn_s32(vcvtnq_s32_f32(whole));
    int8x8_t bytes = vqmovn_s16(vcombine_s16(words, words));
    vst1_lane_s32((int32_t *)(void *)p, vreinterpret_s32_s8(bytes), 0);
}
INLINE vi vi_zero(void) { return vdupq_n_s32(0); }
INLINE vi vi_add(vi a, vi b) { return vaddq_s32(a, b); }
INLINE vi vi_whole(vi a, const int32_t *sums, const int32_t *negatives) {
    (void)sums, (void)negatives;
    return a;
}
INLINE vf vi_float(vi a) { return vcvtq_f32_s32(a); }
INLINE vq vq_load(const int8_t *p) { return vld1q_s8(p); }
INLINE vx vx_set(const uint8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}
INLINE vi vi_dot(vi sum, vx x, vq q) { return vdotq_s32(sum, x, q); }
INLINE vf vf_widen(const uint16_t *p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); } /* of bfloat16 */
INLINE vf vf_bytes(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four))))));
}
typedef struct { int8x16_t low, high; } v4;
typedef int32x4_t vg;
INLINE v4 v4_load(const uint8_t *p) {
    uint8x16_t both = vld1q_u8(p);
    return (v4){vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15))), vreinterpretq_s8_u8(vshrq_n_u8(both, 4))};
}
INLINE vg vg_zero(void) { return vdupq_n_s32(0); }
INLINE vg vg_dot(vg sum, vx low, vx high, v4 w) { return vdotq_s32(vdotq_s32(sum, low, w.low), high, w.high); }
INLINE vf vg_float(vg sum, int32_t offset) { return vcvtq_f32_s32(vsubq_s32(sum, vdupq_n_s32(offset))); }

#else /* portable: vectors of four that every GCC and Clang has, made of whatever the machine has */
#define TABLE ch_kernels_portable
#define NAME "portable"
#define LANES 4
#define MOST_PARTS 8
#define TILES(X) X(1, 2) X(2, 1) X(3, 1)
#define TILE_ROWS 3
#define BYTE_OFFSET 0
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef struct { const int8_t *p; } vq;
typedef struct { int8_t four[4]; } vx;
INLINE vf vf_load(const float *p) { vf a; memcpy(&a, p, sizeof a); return a; }
INLINE void vf_store(float *p, vf a) { memcpy(p, &a, sizeof a); }
INLINE vf vf_set(float a) { return (vf){a, a, a, a}; }
INLINE vf vf_add(vf a, vf b) { return a + b; }
INLINE vf vf_sub(vf a, vf b) { return a - b; }
INLINE vf vf_mul(vf a, vf b) { return a * b; }
INLINE vf vf_div(vf a, vf b) { return a / b; }
INLINE vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
INLINE vf vf_either(vi which, vf a, vf b) { return (vf)((which & (vi)a) | (~which & (vi)b)); }
INLINE vf vf_max(vf a, vf b) { return vf_either(a > b, a, b); }
INLINE vf vf_min(vf a, vf b) { return vf_either(a < b, a, b); }
INLINE vf vf_round(vf a) { vf most = vf_set(12582912.0f); return (a + most) - most; } /* to even; |a| < 2^22 */
INLINE vf vf_abs(vf a) { return (vf)((vi)a & 0x7fffffff); }
INLINE vf vf_sign_of(vf size, vf sign) { return (vf)(((vi)size & 0x7fffffff) | ((vi)sign & ~0x7fffffff)); }
INLINE vf vf_pow2(vf whole) {
    vi n = {(int32_t)whole[0], (int32_t)whole[1], (int32_t)whole[2], (int32_t)whole[3]};
    return (vf)((n + 127) << 23);
}
INLINE int vf_any_above(vf a, vf b) { vi c = a > b; return (c[0] | c[1] | c[2] | c[3]) != 0; }
INLINE float vf_sum(vf a) { return (a[0] + a[2]) + (a[1] + a[3]); }
INLINE float vf_largest(vf a) {
    float low = a[0] > a[1] ? a[0] : a[1], high = a[2] > a[3] ? a[2] : a[3];
    return low > high ? low : high;
}
INLINE void vf_sums(float *out, const vf a[4]) {
    for (int k = 0; k < 4; k++) out[k] = vf_sum(a[k]);
}
INLINE void vf_store_bytes(uint8_t *p, vf whole) {
    for (int k = 0; k < 4; k++) p[k] = (uint8_t)(int8_t)whole[k];
}
INLINE vi vi_zero(void) { return (vi){0, 0, 0, 0}; }
INLINE vi vi_add(vi a, vi b) { return a + b; }
INLINE vi vi_whole(vi a, const int32_t *sums, const int32_t *negatives) {
    (void)sums, (void)negatives;
    return a;
}
INLINE vf vi_float(vi a) { return (vf){(float)a[0], (float)a[1], (float)a[2], (float)a[3]}; }
INLINE vq vq_load(const int8_t *p) { return (vq){p}; }
INLINE vx vx_set(const uint8_t *p) { vx x; memcpy(x.four, p, 4); return x; }
INLINE vi vi_dot(vi sum, vx x, vq q) {
    for (int lane = 0; lane < 4; lane++)
        for (int k = 0; k < 4; k++) sum[lane] += x.four[k] * q.p[4 * lane + k];
    return sum;
}
INLINE vf vf_widen(const uint16_t *p) { /* of bfloat16 */
    vi bits = {p[0], p[1], p[2], p[3]};
    return (vf)(bits << 16);
}
INLINE vf vf_bytes(const int8_t *p) { return (vf){p[0], p[1], p[2], p[3]}; }
typedef struct { const uint8_t *p; } v4;
typedef vi vg;
INLINE v4 v4_load(const uint8_t *p) { return (v4){p}; }
INLINE vg vg_zero(void) { return vi_zero(); }
INLINE vg vg_dot(vg sum, vx low, vx high, v4 w) {
    for (int lane = 0; lane < 4; lane++)
        for (int k = 0; k < 4; k++) {
            uint8_t both = w.p[4 * lane + k];
            sum[lane] += low.four[k] * (both & 15) + high.four[k] * (both >> 4);
        }
    return sum;
}
INLINE vf vg_float(vg sum, int32_t offset) { return vi_float(sum - offset); }
#endif

#define PARTS (CH_PANEL / LANES) /* vectors of a panel */

#endif
