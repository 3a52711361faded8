/* What rows.c, step.c and search.c share: rows of text, their cache, and scratch memory. */
#ifndef ROWS_H
#define ROWS_H

#include "kernels.h"

typedef struct ch_shortlist ch_shortlist; /* see shortlist.h */
typedef struct ch_columns ch_columns;

/* Keys and values of one source for the cross-attention of all layers, shared by the rows that translate it:
 * [layer][keys, values][kv_heads][length][head]. */
typedef struct {
    int length, users;
    ch_shortlist *shortlist; /* the pieces that may translate it, or NULL: all may */
    float cache[];
} ch_memory;

/* Scratch memory for the states of so many tokens at a time. */
typedef struct {
    int tokens, scores_room;
    float *x;          /* [tokens][width], the residual stream */
    float *y;          /* [tokens][wide], what a sublayer reads or attention gives */
    float *z;          /* [tokens][wide], queries, keys and values */
    float *f;          /* [tokens][inner, twice if gated] */
    float *scores;     /* of attention over up to scores_room positions */
    uint8_t *bytes;    /* [tokens][widest input, in whole groups] */
    float *byte_scale; /* [tokens] */
    int32_t *offsets;  /* [tokens][groups], see ch_product */
    void *block;       /* all of it but scores */
} ch_room;

/* Row r has length[r] pieces. Its key at position p is in slots[r * capacity + p], for rows may share what they have in
 * common: a row writes its next position into its own slot, where no other row of its length has anything yet. So a
 * beam that goes on from another one copies numbers of slots, and no keys. */
struct ch_rows {
    const ch_model *model;
    const ch_kernels *kernels;
    int threads;
    int count, row_room;  /* rows alive; rows there is room for */
    int *length, *own;
    ch_memory **memory;   /* by row, NULL without an encoder */
    int32_t *slots;
    int slot_room, capacity;
    float *cache;         /* [layer][keys, values][slot][kv_heads][capacity][head] */
    int8_t *byte_cache;   /* the same, where it is of 8 bits */
    float *byte_scales;   /* [layer][keys, values][slot][kv_heads][capacity] */
    int kind;             /* of the cache: CH_FLOAT32 or CH_INT8 */
    unsigned char *taken; /* [slot_room], scratch of find_slots */
    ch_columns *columns;  /* of the output layer, that shortlists need; NULL: none has one */
    ch_room room;
};

typedef struct {
    const int32_t *ids;
    const int *row;      /* in a decoder: of the rows */
    const int *position; /* within the row or source */
    const int *length;   /* in an encoder: of the token's source, whose tokens stand together */
    int count;
    const int *segment;  /* in an encoder whose input has segments; NULL: all are 0 */
} ch_tokens;

#define CH_CHUNK 256 /* tokens that go through the layers together */

int ch_fail(const char *format, ...) __attribute__((format(printf, 1, 2))); /* keeps the reason; returns -1 */
void *ch_allocate(size_t bytes);                                            /* aligned to 64; NULL with a reason */
int ch_room_for(ch_rows *rows, int tokens, int positions);
int ch_reserve(ch_rows *rows, int positions);                               /* of the longest row */
int ch_reserve_slots(ch_rows *rows, int count);                             /* for so many rows in all */
void ch_rows_threads(ch_rows *rows, int threads);                           /* that share a product from now on */
int ch_check_ids(const int32_t *ids, size_t count, int vocab);
int ch_check_source(const ch_model *model, const int32_t *ids, int length);
void ch_run_decoder(ch_rows *rows, const ch_tokens *tokens);                /* leaves the states in room.x */
void ch_logits(ch_rows *rows, const float *states, int count, float *logits);
/* The same for states of rows: those of a row whose source has a shortlist are of its pieces, in their order. */
void ch_row_logits(ch_rows *rows, const int *row, const float *states, int count, float *logits);
void ch_encode_tokens(ch_rows *rows, const ch_tokens *tokens);              /* leaves the states in room.x */
void ch_run_head(ch_rows *rows, const float *states, int count, float *logits);
void ch_fill_memories(ch_rows *rows, ch_memory **memories, int count, int tokens); /* from the states in room.x */
size_t ch_memory_size(const ch_model *model, int length);

static inline size_t ch_slot_size(const ch_rows *rows) {
    return (size_t)rows->model->kv_heads * rows->capacity * rows->model->head;
}

#endif
