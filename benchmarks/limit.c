/* What this machine allows: cc -O3 -march=native -pthread limit.c -o limit && ./limit THREADS
 *
 * Three rates of a core that bound what the engine can do (multiply-adds a second of float32 and of bytes, and bytes a
 * second read from each level of memory, by one thread and by all of them), and then what a step of decoding takes with
 * nothing but its products: weights packed once into lines of 16 outputs, one loop over them, no attention, norm, search
 * or interpreter. Threads share each product by a counter that they wait for without a pause, which nothing that must
 * live beside other processes could do. Own code, apart from the engine: what is left between both is the engine's. */
#include <immintrin.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if !defined(__AVX512F__) || !defined(__AVX512VNNI__)
int main(void) {
    puts("limit: needs a processor with AVX-512 and VNNI");
    return 1;
}
#else

enum { MOST_THREADS = 64, MOST_PRODUCTS = 256 };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void *room(size_t bytes) {
    void *block = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!block) exit(2);
    memset(block, 1, bytes);
    return block;
}

/* ------------------------------------------------------------------------------------------------------------ rates of a core */

#define DOTS(s, x, w) __asm__("vpdpbusd %2, %1, %0" : "+v"(s) : "v"(x), "v"(w))
#define ADDS(s, x, w) __asm__("vfmadd231ps %2, %1, %0" : "+v"(s) : "v"(x), "v"(w))

static double multiplying(int bytes) { /* 1e9 multiply-adds a second */
    double best = 0;
    for (int turn = 0; turn < 20; turn++) {
        __m512 s[16];
        __m512i d[16], four = _mm512_set1_epi8(1);
        __m512 one = _mm512_set1_ps(1);
        for (int k = 0; k < 16; k++) s[k] = one, d[k] = four;
        double start = seconds();
        for (int n = 0; n < 100000; n++) {
            if (bytes) {
#pragma GCC unroll 16
                for (int k = 0; k < 16; k++) DOTS(d[k], four, four);
            } else {
#pragma GCC unroll 16
                for (int k = 0; k < 16; k++) ADDS(s[k], one, one);
            }
        }
        double rate = 1e5 * 16 * (bytes ? 64 : 16) / (seconds() - start) / 1e9;
        best = rate > best ? rate : best;
        for (int k = 0; k < 16; k++) __asm__ volatile("" ::"v"(s[k]), "v"(d[k])); /* none may be left out */
    }
    return best;
}

/* ------------------------------------------------------------------------------------------------------------------- threads */

typedef void work(int thread, int threads);
static struct {
    int threads;
    work *next;
    atomic_int turn, done, waiting;
} crew;

static void *serve(void *number) {
    for (int turn = 1;; turn++) {
        while (atomic_load_explicit(&crew.turn, memory_order_acquire) < turn) _mm_pause();
        if (!crew.next) return NULL;
        crew.next((int)(intptr_t)number, crew.threads);
        atomic_fetch_add(&crew.done, 1);
    }
}

static void all(work *what) {
    crew.next = what;
    atomic_store(&crew.done, 0);
    atomic_fetch_add_explicit(&crew.turn, 1, memory_order_release);
    if (!what) return;
    what(0, crew.threads);
    while (atomic_load(&crew.done) < crew.threads - 1) _mm_pause();
}

static void meet(void) { /* of all threads, within a work */
    static atomic_int round;
    if (crew.threads < 2) return;
    int now = atomic_load(&round);
    if (atomic_fetch_add(&crew.waiting, 1) == crew.threads - 1) {
        atomic_store(&crew.waiting, 0);
        atomic_store(&round, now + 1);
    } else while (atomic_load(&round) == now) _mm_pause();
}

static struct { char *block; size_t size; int times; } reading;

static void read_part(int thread, int threads) {
    size_t part = reading.size / threads / 512 * 512;
    const char *from = reading.block + thread * part;
    __m512i s[8];
    for (int k = 0; k < 8; k++) s[k] = _mm512_setzero_si512();
    for (int n = 0; n < reading.times; n++)
        for (size_t i = 0; i < part; i += 512) {
#pragma GCC unroll 8
            for (int k = 0; k < 8; k++) {
                _mm_prefetch(from + i + 64 * k + 4096, _MM_HINT_T0);
                s[k] = _mm512_xor_si512(s[k], _mm512_load_si512(from + i + 64 * k));
            }
        }
    for (int k = 0; k < 8; k++) __asm__ volatile("" ::"v"(s[k]));
}

static double read_rate(size_t size) { /* 1e9 bytes a second of all threads */
    double best = 0;
    reading.size = size;
    reading.times = (int)((64u << 20) / size) + 1;
    for (int turn = 0; turn < 12; turn++) {
        double start = seconds();
        all(read_part);
        double rate = (double)size * reading.times / (seconds() - start) / 1e9;
        best = rate > best ? rate : best;
    }
    return best;
}

/* -------------------------------------------------------------------------------------------------------------------- products */

typedef struct { int inputs, outputs, rows; char *weights; } product;
static struct { product list[MOST_PRODUCTS]; int count, bytes; char *x; float *y; } step;

/* R rows by P lines of 16 outputs. */
#define TILE(NAME, R, P)                                                                                             \
    static void NAME(const product *p, int row, int line) {                                                           \
        __m512 s[R][P];                                                                                               \
        __m512i d[R][P];                                                                                              \
        int n = p->inputs;                                                                                            \
        size_t size = (size_t)n * 16;                                                                                 \
        for (int r = 0; r < R; r++)                                                                                   \
            for (int k = 0; k < P; k++) s[r][k] = _mm512_setzero_ps(), d[r][k] = _mm512_setzero_si512();              \
        const float *x = (const float *)step.x + (size_t)row * n, *w = (const float *)p->weights + line * size;       \
        const char *xb = step.x + (size_t)row * n, *wb = p->weights + line * size;                                    \
        for (int i = 0; !step.bytes && i < n; i++) {                                                                  \
            __m512 lines[P];                                                                                          \
            _Pragma("GCC unroll 8") for (int k = 0; k < P; k++) lines[k] = _mm512_load_ps(w + k * size + (size_t)i * 16); \
            _Pragma("GCC unroll 12") for (int r = 0; r < R; r++) {                                                    \
                __m512 in = _mm512_set1_ps(x[(size_t)r * n + i]);                                                     \
                _Pragma("GCC unroll 8") for (int k = 0; k < P; k++) ADDS(s[r][k], in, lines[k]);                      \
            }                                                                                                         \
        }                                                                                                             \
        for (int i = 0; step.bytes && i < n; i += 4) {                                                                \
            __m512i lines[P];                                                                                         \
            _Pragma("GCC unroll 8") for (int k = 0; k < P; k++) lines[k] = _mm512_load_si512(wb + k * size + (size_t)i * 16); \
            _Pragma("GCC unroll 12") for (int r = 0; r < R; r++) {                                                    \
                int four;                                                                                             \
                memcpy(&four, xb + (size_t)r * n + i, 4);                                                             \
                __m512i in = _mm512_set1_epi32(four);                                                                 \
                _Pragma("GCC unroll 8") for (int k = 0; k < P; k++) DOTS(d[r][k], in, lines[k]);                      \
            }                                                                                                         \
        }                                                                                                             \
        for (int r = 0; r < R; r++)                                                                                   \
            for (int k = 0; k < P; k++)                                                                               \
                _mm512_store_ps(step.y + (size_t)(row + r) * p->outputs + (line + k) * 16,                            \
                                step.bytes ? _mm512_cvtepi32_ps(d[r][k]) : s[r][k]);                                  \
    }
TILE(tile_1, 1, 8) TILE(tile_5, 5, 4) TILE(tile_8, 8, 2) TILE(tile_12, 12, 2) TILE(tile_rest, 1, 1)

static void multiply(const product *p, int first, int last) {
    int rows = p->rows, at = 0;
    while (at < rows) {
        int left = rows - at, n = left >= 12 ? 12 : left >= 8 ? 8 : left >= 5 ? 5 : 1, wide = n == 1 ? 8 : n == 5 ? 4 : 2, line = first;
        for (; line + wide <= last; line += wide) (n == 12 ? tile_12 : n == 8 ? tile_8 : n == 5 ? tile_5 : tile_1)(p, at, line);
        for (; line < last; line++)
            for (int r = 0; r < n; r++) tile_rest(p, at + r, line);
        at += n;
    }
}

static void whole_step(int thread, int threads) { /* every product is shared */
    for (int k = 0; k < step.count; k++) {
        int lines = step.list[k].outputs / 16;
        multiply(&step.list[k], lines * thread / threads, lines * (thread + 1) / threads);
        meet();
    }
}

static void add_product(int inputs, int outputs, int rows) {
    char *weights = room((size_t)inputs * outputs * (step.bytes ? 1 : 4));
    step.list[step.count++] = (product){inputs, (outputs + 15) / 16 * 16, rows, weights};
}

/* One sentence's or text's pieces a second: by `rows` rows of it, each step of which has `layers` layers. */
static double pieces(int bytes, int d, int inner, int layers, int vocab, int memory, int rows, int beam) {
    step.bytes = bytes;
    step.count = 0;
    step.x = room((size_t)rows * inner * 4);
    step.y = room((size_t)rows * (vocab > 3 * inner ? vocab + 16 : 3 * inner) * 4);
    for (int k = 0; k < layers; k++) {
        add_product(d, 3 * d, rows);
        add_product(d, d, rows);
        for (int n = 0; n < 2 * memory; n++) add_product(d, d, rows); /* queries of the memory, and what is read from it */
        add_product(d, inner, rows);
        add_product(inner, d, rows);
    }
    add_product(d, (vocab + 15) / 16 * 16, rows);
    double best = 1e9;
    for (int turn = 0; turn < 12; turn++) {
        int times = 0;
        double start = seconds(), took;
        do all(whole_step), times++;
        while ((took = seconds() - start) < 0.03);
        best = took / times < best ? took / times : best;
    }
    for (int k = 0; k < step.count; k++) free(step.list[k].weights);
    free(step.x);
    free(step.y);
    return rows / beam / best;
}

int main(int count, char **words) {
    int most = count > 1 ? atoi(words[1]) : 1;
    pthread_t others[MOST_THREADS];
    if (most < 1 || most > MOST_THREADS) return 1;
    printf("a core: %.0f e9 multiply-adds/s in float32, %.0f in bytes\n", multiplying(0), multiplying(1));
    reading.block = room((size_t)1 << 29);
    for (crew.threads = 1; crew.threads <= most; crew.threads = crew.threads < most ? most : most + 1) {
        for (int k = crew.threads == 1 ? most : 1; k < crew.threads; k++) pthread_create(&others[k], NULL, serve, (void *)(intptr_t)k);
        printf("%d threads read, GB/s:", crew.threads);
        for (size_t size = 64 << 10; size <= (size_t)1 << 29; size *= 8) printf(" %.0f (%zu KB)", read_rate(crew.threads * size > (1u << 29) ? 1u << 29 : crew.threads * size), size >> 10);
        puts("");
        for (int bytes = 0; bytes < 2; bytes++) {
            printf("  %s:", bytes ? "int8" : "float32");
            static const int sizes[][2] = {{1, 1}, {16, 1}, {64, 1}, {5, 5}, {80, 5}, {320, 5}};
            for (int k = 0; k < 6; k++)
                printf(" small beam %d batch %d: %.0f;", sizes[k][1], sizes[k][0] / sizes[k][1], pieces(bytes, 256, 1024, 3, 8000, 1, sizes[k][0], sizes[k][1]));
            printf(" base beam 5 batch 1: %.0f;", pieces(bytes, 512, 2048, 6, 8000, 1, 5, 5));
            printf(" GPT-2 124M: %.0f pieces/s\n", pieces(bytes, 768, 3072, 12, 50257, 0, 1, 1));
        }
    }
    return 0;
}
#endif
