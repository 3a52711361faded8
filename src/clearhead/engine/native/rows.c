/* Rows of text: how they come, grow, share what they have in common, and go. */
#include "rows.h"

#include "pool.h"
#include "shortlist.h"

#include <stdlib.h>
#include <string.h>

ch_rows *ch_rows_new(const ch_model *model, const char *instructions, int threads) {
    const ch_kernels *kernels = ch_kernels_of(instructions);
    if (!kernels) return NULL;
    if (model->cache != CH_FLOAT32 && model->cache != CH_INT8) {
        ch_fail("a cache of kind %d: must be %d or %d", model->cache, CH_FLOAT32, CH_INT8);
        return NULL;
    }
    ch_rows *rows = calloc(1, sizeof *rows);
    if (!rows) {
        ch_fail("no memory for rows");
        return NULL;
    }
    rows->model = model;
    rows->kernels = kernels;
    rows->threads = threads;
    rows->kind = model->cache;
    return rows;
}

/* Before memory goes that a thread of the pool may still read. */
static void settle(const ch_rows *rows) {
    if (rows->threads > 1) ch_settle();
}

static void release(ch_memory *memory) {
    if (!memory || --memory->users) return;
    ch_shortlist_free(memory->shortlist);
    free(memory);
}

void ch_rows_free(ch_rows *rows) {
    if (!rows) return;
    settle(rows);
    for (int r = 0; r < rows->count; r++) release(rows->memory[r]);
    free(rows->length);
    free(rows->own);
    free(rows->memory);
    free(rows->slots);
    free(rows->cache);
    free(rows->byte_cache);
    free(rows->byte_scales);
    free(rows->taken);
    free(rows->room.block);
    free(rows->room.scores);
    ch_columns_free(rows->columns);
    free(rows);
}

int ch_rows_count(const ch_rows *rows) { return rows->count; }

int ch_rows_length(const ch_rows *rows, int row) { return row >= 0 && row < rows->count ? rows->length[row] : -1; }

/* -------------------------------------------------------------------------------------------------------------------- memory */

static int larger(int a, int b) { return a > b ? a : b; }

/* Makes scratch memory for so many tokens, and for scores over so many positions. */
int ch_room_for(ch_rows *rows, int tokens, int positions) {
    const ch_model *m = rows->model;
    ch_room *room = &rows->room;
    if (positions > room->scores_room) {
        float *scores = ch_allocate(CH_SCORES(2 * positions) * sizeof(float));
        if (!scores) return -1;
        settle(rows);
        free(room->scores);
        room->scores = scores;
        room->scores_room = 2 * positions;
    }
    if (tokens <= room->tokens) return 0;
    size_t width = m->width, y = larger(m->width, m->heads * m->head), z = (m->heads + 2 * m->kv_heads) * m->head;
    size_t f = (size_t)m->inner * (m->gated ? 2 : 1), inputs = larger(larger(m->width, m->inner), m->heads * m->head);
    size_t groups = (inputs + CH_GROUP - 1) / CH_GROUP, widest = groups * CH_GROUP;
    size_t floats = (size_t)tokens * (width + y + z + f + 1 + groups);
    char *block = ch_allocate(floats * sizeof(float) + tokens * widest);
    if (!block) return -1;
    settle(rows);
    free(room->block);
    room->block = block;
    room->tokens = tokens;
    room->x = (float *)block; /* widths are multiples of 16, so that each part is aligned to 64 bytes */
    room->y = room->x + tokens * width;
    room->z = room->y + tokens * y;
    room->f = room->z + tokens * z;
    room->bytes = (uint8_t *)(room->f + tokens * f);
    room->byte_scale = (float *)(room->bytes + tokens * widest);
    room->offsets = (int32_t *)(room->byte_scale + tokens);
    return 0;
}

/* Copies what rows hold of a cache with lines of so many bytes into a larger one. */
static void *larger_cache(const ch_rows *rows, const void *cache, size_t line, int slots, int capacity) {
    size_t heads = (size_t)rows->model->kv_heads, layers = 2 * (size_t)rows->model->decoder_layers, used = 0;
    for (int r = 0; r < rows->count; r++) used = rows->length[r] * line > used ? rows->length[r] * line : used;
    char *copy = ch_allocate(layers * slots * heads * capacity * line);
    for (size_t layer = 0; copy && layer < layers; layer++)
        for (size_t at = 0; at < rows->slot_room * heads; at++)
            memcpy(copy + (layer * slots * heads + at) * capacity * line,
                   (const char *)cache + (layer * rows->slot_room * heads + at) * rows->capacity * line, used);
    return copy;
}

/* Copies caches, and numbers of slots, into larger ones. */
static int grow_cache(ch_rows *rows, int slots, int capacity) {
    size_t head = (size_t)rows->model->head;
    int rounded = rows->kind == CH_INT8;
    float *cache = rounded ? NULL : larger_cache(rows, rows->cache, head * sizeof(float), slots, capacity);
    int8_t *byte_cache = rounded ? larger_cache(rows, rows->byte_cache, head, slots, capacity) : NULL;
    float *byte_scales = rounded ? larger_cache(rows, rows->byte_scales, sizeof(float), slots, capacity) : NULL;
    unsigned char *taken = malloc(slots);
    int32_t *numbers = malloc((size_t)larger(rows->row_room, 1) * capacity * sizeof(int32_t));
    if ((rounded ? !byte_cache || !byte_scales : !cache) || !taken || !numbers) {
        void *blocks[] = {cache, byte_cache, byte_scales, taken, numbers};
        for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++) free(blocks[k]);
        return ch_fail("no memory for a cache of %d rows and %d positions", slots, capacity);
    }
    for (int r = 0; r < rows->count; r++)
        memcpy(numbers + (size_t)r * capacity, rows->slots + (size_t)r * rows->capacity, rows->length[r] * sizeof(int32_t));
    settle(rows);
    void *old[] = {rows->cache, rows->byte_cache, rows->byte_scales, rows->taken, rows->slots};
    for (size_t k = 0; k < sizeof old / sizeof *old; k++) free(old[k]);
    rows->cache = cache;
    rows->byte_cache = byte_cache;
    rows->byte_scales = byte_scales;
    rows->taken = taken;
    rows->slots = numbers;
    rows->slot_room = slots;
    rows->capacity = capacity;
    return 0;
}

int ch_reserve(ch_rows *rows, int positions) {
    if (positions <= rows->capacity) return 0;
    int wanted = larger(positions, larger(32, 2 * rows->capacity));
    if (wanted > rows->model->max_len) wanted = larger(positions, rows->model->max_len);
    return grow_cache(rows, larger(rows->slot_room, 1), wanted);
}

/* Where rows come bit by bit, a cache that must grow grows by half. */
int ch_reserve_slots(ch_rows *rows, int count) {
    if (count <= rows->slot_room) return 0;
    return grow_cache(rows, larger(count, rows->slot_room + rows->slot_room / 2), larger(rows->capacity, 32));
}

void ch_rows_threads(ch_rows *rows, int threads) {
    if (threads < rows->threads) settle(rows);
    rows->threads = threads;
}

static int more_rows(ch_rows *rows, int count) {
    if (count <= rows->row_room) return 0;
    settle(rows);
    int *length = realloc(rows->length, count * sizeof(int));
    if (length) rows->length = length;
    int *own = realloc(rows->own, count * sizeof(int));
    if (own) rows->own = own;
    ch_memory **memory = realloc(rows->memory, count * sizeof *memory);
    if (memory) rows->memory = memory;
    int32_t *slots = realloc(rows->slots, (size_t)larger(count * rows->capacity, 1) * sizeof(int32_t));
    if (slots) rows->slots = slots;
    if (!length || !own || !memory || !slots) return ch_fail("no memory for %d rows", count);
    rows->row_room = count;
    return 0;
}

static void mark_taken(ch_rows *rows) {
    memset(rows->taken, 0, rows->slot_room);
    for (int r = 0; r < rows->count; r++) {
        if (rows->own[r] >= 0) rows->taken[rows->own[r]] = 1;
        for (int p = 0; p < rows->length[r]; p++) rows->taken[rows->slots[(size_t)r * rows->capacity + p]] = 1;
    }
}

/* Finds slots for the rows whose own is -1: such as no row owns or reads. */
static int find_slots(ch_rows *rows) {
    if (ch_reserve_slots(rows, rows->count)) return -1;
    for (;;) {
        int slot = 0, missing = 0;
        mark_taken(rows);
        for (int row = 0; row < rows->count; row++) {
            if (rows->own[row] >= 0) continue;
            while (slot < rows->slot_room && rows->taken[slot]) slot++;
            if (slot < rows->slot_room) rows->own[row] = slot++;
            else missing++;
        }
        if (!missing) return 0;
        if (ch_reserve_slots(rows, rows->slot_room + missing)) return -1;
    }
}

/* ----------------------------------------------------------------------------------------------------------- coming and going */

static int add_rows(ch_rows *rows, ch_memory *const *memories, int sources, int copies) {
    int first = rows->count;
    if (more_rows(rows, first + sources * copies)) return -1;
    for (int r = 0; r < sources * copies; r++) {
        rows->length[first + r] = 0;
        rows->own[first + r] = -1;
        rows->memory[first + r] = memories ? memories[r / copies] : NULL;
    }
    rows->count += sources * copies;
    if (!find_slots(rows)) return 0;
    rows->count = first;
    return -1;
}

int ch_join_empty(ch_rows *rows, int count) {
    if (rows->model->encoder) return ch_fail("rows of a model with an encoder need sources");
    if (count < 1) return ch_fail("count = %d: must be at least 1", count);
    return add_rows(rows, NULL, count, 1);
}

int ch_check_ids(const int32_t *ids, size_t count, int vocab) {
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= vocab) return ch_fail("piece %d: must be from 0 to %d", ids[i], vocab - 1);
    return 0;
}

int ch_check_source(const ch_model *m, const int32_t *ids, int length) {
    if (length < 1 || length > m->max_len)
        return ch_fail("a sequence of %d pieces: must be at least 1 and at most max_seq_len = %d", length, m->max_len);
    return ch_check_ids(ids, length, m->src_vocab);
}

/* Encodes some sources, and lists what the tokens of `ch_tokens` are. */
static int encode(ch_rows *rows, const int32_t *ids, const int32_t *lengths, int sources, int total) {
    int longest = 0, *numbers = malloc(2 * (size_t)total * sizeof(int));
    if (!numbers) return ch_fail("no memory for %d pieces", total);
    for (int s = 0, t = 0; s < sources; s++) {
        longest = larger(longest, lengths[s]);
        for (int p = 0; p < lengths[s]; p++, t++) {
            numbers[t] = p;
            numbers[total + t] = lengths[s];
        }
    }
    int failed = ch_room_for(rows, total, longest);
    ch_tokens tokens = {ids, NULL, numbers, numbers + total, total};
    if (!failed) ch_encode_tokens(rows, &tokens);
    free(numbers);
    return failed;
}

static int join_some(ch_rows *rows, const int32_t *ids, const int32_t *lengths, int sources, int total, int copies) {
    ch_memory *memories[CH_CHUNK];
    int made = 0, failed = encode(rows, ids, lengths, sources, total);
    for (; !failed && made < sources; made++) {
        memories[made] = malloc(ch_memory_size(rows->model, lengths[made]));
        if (!memories[made]) {
            failed = ch_fail("no memory for a source of %d pieces", lengths[made]);
            break;
        }
        memories[made]->length = lengths[made];
        memories[made]->users = copies;
        memories[made]->shortlist = NULL;
    }
    if (!failed) {
        ch_fill_memories(rows, memories, sources, total);
        failed = add_rows(rows, memories, sources, copies);
    }
    for (int s = 0; failed && s < made; s++) free(memories[s]);
    return failed;
}

int ch_join_sources(ch_rows *rows, const int32_t *ids, const int32_t *lengths, int sources, int copies) {
    const ch_model *m = rows->model;
    if (!m->encoder) return ch_fail("a model without an encoder has no sources");
    if (copies < 1) return ch_fail("copies = %d: must be at least 1", copies);
    const int32_t *at = ids;
    for (int s = 0; s < sources; at += lengths[s++])
        if (ch_check_source(m, at, lengths[s])) return -1;
    int before = rows->count;
    for (int done = 0, taken; done < sources; done += taken) {
        int total = 0;
        for (taken = 0; done + taken < sources && taken < CH_CHUNK; taken++) {
            if (taken && total + lengths[done + taken] > CH_CHUNK) break;
            total += lengths[done + taken];
        }
        if (join_some(rows, ids, lengths + done, taken, total, copies)) {
            while (rows->count > before) release(rows->memory[--rows->count]);
            return -1;
        }
        ids += total;
    }
    return 0;
}

int ch_encode(ch_rows *rows, const int32_t *ids, int length, float *states) {
    const ch_model *m = rows->model;
    if (!m->encoder) return ch_fail("a model without an encoder has no sources");
    if (ch_check_source(m, ids, length) || encode(rows, ids, &length, 1, length)) return -1;
    memcpy(states, rows->room.x, (size_t)length * m->width * sizeof(float));
    return 0;
}

/* Whether every row goes on from one of its length: then it may keep its own slot, where nobody reads further. */
static int is_reordering(const ch_rows *rows, const int32_t *kept, int count) {
    if (count != rows->count) return 0;
    for (int r = 0; r < count; r++)
        if (rows->length[r] != rows->length[kept[r]]) return 0;
    return 1;
}

int ch_keep(ch_rows *rows, const int32_t *kept, int count) {
    if (count < 0) return ch_fail("count = %d: must be at least 0", count);
    for (int r = 0; r < count; r++)
        if (kept[r] < 0 || kept[r] >= rows->count) return ch_fail("row %d: must be from 0 to %d", kept[r], rows->count - 1);
    int reordering = is_reordering(rows, kept, count), old = rows->count;
    if (more_rows(rows, count)) return -1;
    size_t capacity = rows->capacity;
    int32_t *slots = malloc((size_t)larger(rows->row_room * (int)capacity, 1) * sizeof(int32_t));
    int *state = malloc(2 * (size_t)larger(count, 1) * sizeof(int) + old);
    ch_memory **memory = malloc(larger(rows->row_room, 1) * sizeof *memory);
    if (!slots || !state || !memory) {
        free(slots);
        free(state);
        free(memory);
        return ch_fail("no memory for %d rows", count);
    }
    int *length = state, *own = state + count, fresh = 0;
    unsigned char *given = (unsigned char *)(own + count); /* old rows whose slot has an owner again */
    memset(given, 0, old);
    for (int r = 0; r < count; r++) {
        int from = kept[r];
        length[r] = rows->length[from];
        memory[r] = rows->memory[from];
        if (memory[r]) memory[r]->users++;
        memcpy(slots + r * capacity, rows->slots + from * capacity, length[r] * sizeof(int32_t));
        own[r] = given[from] ? -1 : rows->own[from];
        fresh += given[from];
        given[from] = 1;
    }
    settle(rows);
    for (int r = 0; r < old; r++) release(rows->memory[r]);
    if (!reordering) memcpy(rows->own, own, count * sizeof(int));
    memcpy(rows->length, length, count * sizeof(int));
    free(rows->slots);
    free(rows->memory);
    free(state);
    rows->slots = slots;
    rows->memory = memory;
    rows->count = count;
    if (reordering || !fresh) return 0;
    return find_slots(rows);
}

/* -------------------------------------------------------------------------------------------------------------------- growing */

static int check_counts(const ch_rows *rows, const int32_t *counts, int *total, int *longest) {
    *total = *longest = 0;
    for (int r = 0; r < rows->count; r++) {
        int end = rows->length[r] + counts[r];
        if (counts[r] < 0) return ch_fail("%d pieces for row %d: must be at least 0", counts[r], r);
        if (end > rows->model->max_len)
            return ch_fail("a sequence of %d pieces: must be at most max_seq_len = %d", end, rows->model->max_len);
        *total += counts[r];
        *longest = larger(*longest, end);
    }
    return 0;
}

/* Lists the next tokens, and gives each its place in the cache. Returns how many. */
static int next_tokens(ch_rows *rows, const int32_t *counts, int *row, int *done, int *rows_of, int *positions) {
    int n = 0;
    while (n < CH_CHUNK && *row < rows->count) {
        if (*done == counts[*row]) {
            ++*row;
            *done = 0;
            continue;
        }
        rows_of[n] = *row;
        positions[n] = rows->length[*row]++;
        rows->slots[(size_t)*row * rows->capacity + positions[n]] = rows->own[*row];
        ++*done;
        n++;
    }
    return n;
}

/* Moves the states that are wanted to the front: of all tokens, or of the last of each row. Returns how many, and their
 * rows in `row`. */
static int wanted_states(ch_rows *rows, const ch_tokens *tokens, int all, int *row) {
    if (all) return tokens->count;
    size_t width = rows->model->width;
    int n = 0;
    for (int t = 0; t < tokens->count; t++) {
        if (tokens->position[t] + 1 < tokens->length[tokens->row[t]]) continue;
        if (n != t) memcpy(rows->room.x + n * width, rows->room.x + t * width, width * sizeof(float));
        row[n++] = tokens->row[t];
    }
    return n;
}

int ch_extend(ch_rows *rows, const int32_t *ids, const int32_t *counts, int all, float *logits) {
    const ch_model *m = rows->model;
    int total, longest, row = 0, done = 0, n;
    if (check_counts(rows, counts, &total, &longest) || ch_check_ids(ids, total, m->vocab)) return -1;
    if (ch_reserve(rows, longest) || ch_room_for(rows, total < CH_CHUNK ? total : CH_CHUNK, longest)) return -1;
    int rows_of[CH_CHUNK], positions[CH_CHUNK], *ends = malloc((size_t)larger(rows->count, 1) * sizeof(int));
    if (!ends) return ch_fail("no memory for %d rows", rows->count);
    for (int r = 0; r < rows->count; r++) ends[r] = rows->length[r] + counts[r];
    while ((n = next_tokens(rows, counts, &row, &done, rows_of, positions))) {
        ch_tokens tokens = {ids, rows_of, positions, ends, n};
        ch_run_decoder(rows, &tokens);
        int states = wanted_states(rows, &tokens, all, rows_of);
        ch_row_logits(rows, rows_of, rows->room.x, states, logits);
        logits += (size_t)states * m->lm_head.outputs;
        ids += n;
    }
    free(ends);
    return 0;
}

/* Whether another row reads what this one would write over. */
static int is_read(const ch_rows *rows, int row) {
    for (int r = 0; r < rows->count; r++)
        for (int p = rows->length[row]; r != row && p < rows->length[r]; p++)
            if (rows->slots[(size_t)r * rows->capacity + p] == rows->own[row]) return 1;
    return 0;
}

int ch_back(ch_rows *rows, const int32_t *counts) {
    for (int r = 0; r < rows->count; r++)
        if (counts[r] < 0 || counts[r] > rows->length[r])
            return ch_fail("%d pieces back in row %d: must be from 0 to %d", counts[r], r, rows->length[r]);
    int lost = 0;
    for (int r = 0; r < rows->count; r++) rows->length[r] -= counts[r];
    for (int r = 0; r < rows->count; r++)
        if (counts[r] && is_read(rows, r)) {
            rows->own[r] = -1;
            lost = 1;
        }
    return lost ? find_slots(rows) : 0;
}
