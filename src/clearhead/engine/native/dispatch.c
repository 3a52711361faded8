/* Which kernels this processor can run, and the reason of the last failure. */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

static _Thread_local char reason[256];

const char *ch_error(void) { return reason; }

int ch_fail(const char *format, ...) {
    va_list parts;
    va_start(parts, format);
    vsnprintf(reason, sizeof reason, format, parts);
    va_end(parts);
    return -1;
}

void *ch_allocate(size_t bytes) {
    size_t whole = (bytes + 63) / 64 * 64;
    void *block = bytes <= whole ? aligned_alloc(64, whole ? whole : 64) : NULL;
    if (!block) ch_fail("no memory for %zu bytes", bytes);
    return block;
}

void ch_layout(int32_t sizes[7]) {
    sizes[0] = CH_ABI;
    sizes[1] = (int32_t)sizeof(ch_linear);
    sizes[2] = (int32_t)sizeof(ch_layer);
    sizes[3] = (int32_t)sizeof(ch_model);
    sizes[4] = (int32_t)sizeof(ch_search);
    sizes[5] = (int32_t)sizeof(ch_asked);
    sizes[6] = (int32_t)sizeof(ch_phrase);
}

#if defined(__x86_64__)
#include <cpuid.h>

/* Whether the operating system saves the registers that `bits` of XCR0 stand for. */
static int saved(unsigned bits) {
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & bits) == bits;
}

static int look_for_avx2(void) {
    unsigned a, b, c, d;
    if (!saved(0x6) || !__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_FMA) || !(c & bit_F16C)) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

static int look_for_avx512(void) {
    unsigned a, b, c, d, wanted = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
    if (!saved(0xe6) || !look_for_avx2() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    return (b & wanted) == wanted && (c & (1u << 11)); /* AVX512_VNNI */
}

/* Asked once: in a virtual machine each question to the processor takes as long as a small product. */
static int has_avx2(void) {
    static atomic_int known; /* 1 with, 2 without */
    if (!atomic_load(&known)) atomic_store(&known, look_for_avx2() ? 1 : 2);
    return atomic_load(&known) == 1;
}

static int has_avx512(void) {
    static atomic_int known;
    if (!atomic_load(&known)) atomic_store(&known, look_for_avx512() ? 1 : 2);
    return atomic_load(&known) == 1;
}

static const struct { const char *name; const ch_kernels *kernels; int (*here)(void); } choices[] = {
    {"avx512", &ch_kernels_avx512, has_avx512},
    {"avx2", &ch_kernels_avx2, has_avx2},
};
#elif defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
static int has_dot(void) { return (getauxval(AT_HWCAP) >> 20) & 1; } /* HWCAP_ASIMDDP */
#else
static int has_dot(void) { return 1; } /* every Apple processor */
#endif
static const struct { const char *name; const ch_kernels *kernels; int (*here)(void); } choices[] = {
    {"neon", &ch_kernels_neon, has_dot},
};
#else
static const struct { const char *name; const ch_kernels *kernels; int (*here)(void); } choices[1] = {{"", NULL, NULL}};
#endif

#define CHOICES ((int)(sizeof choices / sizeof choices[0]))

/* Whether a choice can run here, asked once: in a virtual machine the question takes microseconds. */
static int is_here(int k) {
    static atomic_int answers[CHOICES]; /* 0: not asked yet; 1: no; 2: yes */
    int answer = atomic_load(&answers[k]);
    if (!answer) atomic_store(&answers[k], answer = choices[k].here && choices[k].here() ? 2 : 1);
    return answer == 2;
}

const ch_kernels *ch_kernels_of(const char *name) {
    if (!strcmp(name, "portable")) return &ch_kernels_portable;
    for (int k = 0; k < CHOICES; k++)
        if ((!strcmp(name, choices[k].name) || !strcmp(name, "auto")) && is_here(k)) return choices[k].kernels;
    if (!strcmp(name, "auto")) return &ch_kernels_portable;
    ch_fail("this processor has no %s, or the library was built without", name);
    return NULL;
}

int ch_has(const char *name) { return ch_kernels_of(name) != NULL; }
