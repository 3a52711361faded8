/* The layers: from pieces to states and logits, for any number of tokens at a time. */
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "shortlist.h"

#define SHARED_LEAST 15e-6 /* seconds that a product must take to be shared */
#define SHARED_CHUNK 40e-6 /* and each part of it, about */

typedef struct {
    const ch_kernels *kernels;
    ch_product product;
} ch_product_job;

static void compute_product(const void *job, int first, int last, float *apart, float *scratch) {
    (void)scratch;
    const ch_product_job *whole = job;
    ch_product part = whole->product;
    if (apart) {
        part.y = apart - (size_t)first * CH_PANEL;
        part.y_stride = (last - first) * CH_PANEL;
        part.residual = NULL;
    }
    whole->kernels->product(&part, first, last);
}

/* Panels of a product that a thread computes at a time, or 0 where sharing costs more than it gains. A product takes as
 * long as its weights need to come from beyond the second-level cache, or its multiplications to be done. Every thread
 * has as many chunks, of as many panels as the widest tiles have, or a multiple. */
static int panels_at_once(const ch_linear *w, int rows, int threads) {
    static const double sizes[] = {[CH_FLOAT32] = 4, [CH_BFLOAT16] = 2, [CH_INT8] = 1, [CH_INT4] = 0.5625}; /* bytes */
    double weights = (double)w->inputs * w->outputs, size = sizes[w->kind];
    double coming = weights * size / 12e9, multiplying = weights * rows / (size < 2 ? 60e9 : 35e9);
    double time = coming > multiplying ? coming : multiplying, each = time / SHARED_CHUNK / threads;
    if (time < SHARED_LEAST) return 0;
    int panels = w->outputs / CH_PANEL, chunks = threads * (each < 1 ? 1 : (int)each);
    if (chunks > 1024) chunks = 1024;
    return (panels + 8 * chunks - 1) / (8 * chunks) * 8;
}

/* Rounds rows to 8 bits where the weights are of 8 or 4 bits. */
static void round_inputs(ch_rows *rows, const ch_linear *w, const float *x, int x_stride, int n) {
    ch_room *room = &rows->room;
    int groups = (w->inputs + CH_GROUP - 1) / CH_GROUP;
    for (int r = 0; r < n && w->kind == CH_INT8; r++)
        room->byte_scale[r] = rows->kernels->quantize(x + (size_t)r * x_stride, w->inputs, room->bytes + (size_t)r * w->inputs);
    for (int r = 0; r < n && w->kind == CH_INT4; r++) {
        int8_t *bytes = (int8_t *)room->bytes + (size_t)r * groups * CH_GROUP;
        room->byte_scale[r] = rows->kernels->round_groups(x + (size_t)r * x_stride, w->inputs, bytes, room->offsets + r * groups);
    }
}

/* y = then(x w + bias) + residual */
static void linear(ch_rows *rows, const ch_linear *w, const float *x, int x_stride, int n, float *y, int y_stride,
                   int then, const float *residual) {
    ch_room *room = &rows->room;
    round_inputs(rows, w, x, x_stride, n);
    ch_product job = {w, x, room->bytes, room->byte_scale, y, residual, n, x_stride, y_stride, then, room->offsets};
    int panels = w->outputs / CH_PANEL, at_once = rows->threads > 1 ? panels_at_once(w, n, rows->threads) : 0;
    if (!at_once) {
        rows->kernels->product(&job, 0, panels);
        return;
    }
    ch_product_job whole = {rows->kernels, job};
    ch_work_shared work = {compute_product, &whole, sizeof whole, y, residual, n, y_stride, panels, CH_PANEL, at_once, NULL, 0};
    ch_share(&work, rows->threads);
}

/* Returns the normalized states, in y, or x itself where there is no norm. */
static const float *normalized(ch_rows *rows, const ch_norm *norm, const float *x, int n, float *y) {
    const ch_model *m = rows->model;
    if (norm->kind == CH_NO_NORM) return x;
    for (int r = 0; r < n; r++)
        rows->kernels->normalize(norm, x + (size_t)r * m->width, m->d_model, m->width, y + (size_t)r * m->width);
    return y;
}

static float widened(uint16_t half) { /* of bfloat16 */
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Writes the row of the output layer's panels that stands for a piece. */
static void embed_from_panels(const ch_model *m, int32_t id, float *x) {
    const ch_linear *w = &m->lm_head;
    size_t at = (size_t)(id / CH_PANEL) * m->width * CH_PANEL, k = id % CH_PANEL;
    for (size_t i = 0; i < (size_t)m->width; i++) {
        float weight = 0.0f;
        if (w->kind == CH_FLOAT32) weight = ((const float *)w->weight)[at + i * CH_PANEL + k];
        if (w->kind == CH_BFLOAT16) weight = widened(((const uint16_t *)w->weight)[at + i * CH_PANEL + k]);
        if (w->kind == CH_INT8) weight = ((const int8_t *)w->weight)[at + i / 4 * 4 * CH_PANEL + 4 * k + i % 4] * w->scale[id];
        x[i] = weight * m->embedding_scale;
    }
}

/* Writes the row of the table that stands for a piece. */
static void embed_piece(const ch_model *m, const float *table, int panels, int32_t id, float *x) {
    if (panels) {
        embed_from_panels(m, id, x);
        return;
    }
    const float *row = table + (size_t)id * m->width;
    for (int i = 0; i < m->width; i++) x[i] = row[i] * m->embedding_scale;
}

static void add_row(const float *table, int row, int n, float *x) {
    for (int i = 0; i < n; i++) x[i] += table[(size_t)row * n + i];
}

static void embed(ch_rows *rows, const ch_tokens *tokens, int source) {
    const ch_model *m = rows->model;
    const float *positions = source ? m->src_positions : m->tgt_positions;
    for (int t = 0; t < tokens->count; t++) {
        float *x = rows->room.x + (size_t)t * m->width;
        embed_piece(m, source ? m->src_table : m->tgt_table, source ? m->src_panels : m->tgt_panels, tokens->ids[t], x);
        if (positions) add_row(positions, tokens->position[t], m->width, x);
        if (source && m->segments) add_row(m->segments, tokens->segment ? tokens->segment[t] : 0, m->width, x);
    }
    if (source) normalized(rows, &m->embedding_norm, rows->room.x, tokens->count, rows->room.x);
}

/* Rotates the pairs (i, i + head_dim / 2) of one head. */
static void rotate(const ch_model *m, float *q, int position) {
    int half = m->head_dim / 2;
    const float *cos = m->cos + (size_t)position * m->head_dim, *sin = m->sin + (size_t)position * m->head_dim;
    for (int i = 0; i < half; i++) {
        float low = q[i], high = q[i + half];
        q[i] = low * cos[i] - high * sin[i];
        q[i + half] = high * cos[i + half] + low * sin[i + half];
    }
}

/* Normalizes and rotates `heads` heads of a token, as the model has it. */
static void prepare_heads(ch_rows *rows, float *q, int heads, int position, int rotary) {
    const ch_model *m = rows->model;
    for (int h = 0; h < heads; h++, q += m->head) {
        if (m->unit_heads) rows->kernels->unit_rms(q, m->head_dim);
        if (rotary && m->cos) rotate(m, q, position);
    }
}

/* What queries, keys and values of self-attention take together, per token. */
static int joint_width(const ch_model *m) { return (m->heads + 2 * m->kv_heads) * m->head; }

static ch_attention attention_of(const ch_model *m, int q_stride) {
    ch_attention a = {0};
    a.heads = m->heads;
    a.sharing = m->heads / m->kv_heads;
    a.head = m->head;
    a.scale = 1.0f / __builtin_sqrtf((float)m->head_dim);
    a.q_stride = q_stride;
    a.y_stride = (size_t)m->heads * m->head;
    return a;
}

typedef struct {
    const ch_kernels *kernels;
    ch_attention attention;
    const float *q;
    float *y;
} ch_attention_job;

static void compute_attention(const void *job, int first, int last, float *apart, float *scratch) {
    const ch_attention_job *whole = job;
    ch_attention part = whole->attention;
    part.first_head = first;
    part.heads = last;
    if (apart) part.y_stride = (size_t)(last - first) * part.head;
    whole->kernels->attend(&part, whole->q, apart ? apart - (size_t)first * part.head : whole->y, scratch);
}

/* Attention of a->queries queries, from z to y; heads are shared where there is enough to compute or to read. */
static void attend(ch_rows *rows, const ch_attention *a, const float *q, float *y) {
    int longest = a->length + (a->queries - 1) * a->growth;
    double numbers = 2.0 * longest * a->head * a->heads, computing = numbers * a->queries / 20e9;
    double coming = 4 * numbers / a->sharing / 12e9;
    if (rows->threads < 2 || (computing > coming ? computing : coming) < SHARED_LEAST) {
        rows->kernels->attend(a, q, y, rows->room.scores);
        return;
    }
    ch_attention_job whole = {rows->kernels, *a, q, y};
    ch_work_shared work = {compute_attention, &whole, sizeof whole, y, NULL, a->queries, (int)a->y_stride, a->heads,
                           a->head, 1, rows->room.scores, CH_SCORES(longest)};
    ch_share(&work, rows->threads);
}

/* The end of an attention sublayer: output projection, residual sum, norm. */
static void leave(ch_rows *rows, const ch_linear *out, const ch_norm *post, int n) {
    const ch_model *m = rows->model;
    ch_room *room = &rows->room;
    linear(rows, out, room->y, m->heads * m->head, n, room->x, m->width, CH_NONE, m->residual ? room->x : NULL);
    normalized(rows, post, room->x, n, room->x);
}

static void project_joint(ch_rows *rows, const ch_layer *layer, const ch_tokens *tokens) {
    const ch_model *m = rows->model;
    ch_room *room = &rows->room;
    int wide = joint_width(m);
    const float *in = normalized(rows, &layer->attn, room->x, tokens->count, room->y);
    linear(rows, &layer->qkv, in, m->width, tokens->count, room->z, wide, CH_NONE, NULL);
    if (m->unit_heads || m->cos)
        for (int t = 0; t < tokens->count; t++)
            prepare_heads(rows, room->z + (size_t)t * wide, m->heads + m->kv_heads, tokens->position[t], 1);
}

/* Every token attends to all of its source; keys and values are read where the product left them. */
static void attend_source(ch_rows *rows, const ch_layer *layer, const ch_tokens *tokens) {
    const ch_model *m = rows->model;
    ch_room *room = &rows->room;
    int wide = joint_width(m);
    project_joint(rows, layer, tokens);
    ch_attention a = attention_of(m, wide);
    a.position_stride = wide;
    a.head_stride = m->head;
    a.left = m->left;
    a.right = m->right;
    for (int t = 0; t < tokens->count; t += a.queries) {
        const float *q = room->z + (size_t)t * wide;
        a.queries = a.length = tokens->length[t];
        a.keys = q + (size_t)m->heads * m->head;
        a.values = a.keys + (size_t)m->kv_heads * m->head;
        attend(rows, &a, q, room->y + (size_t)t * a.y_stride);
    }
    leave(rows, &layer->attn_out, &layer->attn_post, tokens->count);
}

/* Copies one head's keys or values to line `at` of the cache; rounds them where it is of 8 bits. */
static void store_head(ch_rows *rows, const float *from, size_t at) {
    size_t head = (size_t)rows->model->head;
    if (rows->kind == CH_INT8) rows->byte_scales[at] = rows->kernels->round_signed(from, (int)head, rows->byte_cache + at * head);
    else memcpy(rows->cache + at * head, from, head * sizeof(float));
}

/* Copies a token's keys and values [kv_heads][head] to its place in the cache. */
static void store(ch_rows *rows, int layer, const ch_tokens *tokens, int t) {
    const ch_model *m = rows->model;
    size_t slot = (size_t)m->kv_heads * rows->capacity, part = slot * rows->slot_room; /* in lines of `head` numbers */
    const float *from = rows->room.z + (size_t)t * joint_width(m) + (size_t)m->heads * m->head;
    size_t to = 2 * layer * part + (size_t)rows->own[tokens->row[t]] * slot + tokens->position[t];
    for (int kind = 0; kind < 2; kind++, to += part)
        for (int h = 0; h < m->kv_heads; h++, from += m->head) store_head(rows, from, to + (size_t)h * rows->capacity);
}

/* Where the keys and values of a layer are, of whatever kind. */
static void point_to_cache(const ch_rows *rows, int layer, ch_attention *a) {
    size_t part = ch_slot_size(rows) * rows->slot_room, at = 2 * layer * part, head = (size_t)rows->model->head;
    if (rows->kind == CH_INT8) {
        a->key_bytes = rows->byte_cache + at;
        a->value_bytes = a->key_bytes + part;
        a->key_scales = rows->byte_scales + at / head;
        a->value_scales = a->key_scales + part / head;
        return;
    }
    a->keys = rows->cache + at;
    a->values = a->keys + part;
}

/* Every token attends to its row's cache up to itself. */
static void attend_past(ch_rows *rows, int index, const ch_tokens *tokens) {
    const ch_model *m = rows->model;
    const ch_layer *layer = &m->decoder[index];
    ch_room *room = &rows->room;
    project_joint(rows, layer, tokens);
    for (int t = 0; t < tokens->count; t++) store(rows, index, tokens, t);
    ch_attention a = attention_of(m, joint_width(m));
    point_to_cache(rows, index, &a);
    a.slot_stride = ch_slot_size(rows);
    a.position_stride = m->head;
    a.head_stride = (size_t)rows->capacity * m->head;
    a.left = m->left;
    a.right = m->right;
    a.growth = 1;
    int bytes = rows->kind == CH_INT8;
    for (int t = 0; t < tokens->count; t += a.queries) {
        a.queries = 1;
        while (!bytes && t + a.queries < tokens->count && tokens->row[t + a.queries] == tokens->row[t]) a.queries++;
        a.slots = rows->slots + (size_t)tokens->row[t] * rows->capacity;
        a.position = tokens->position[t];
        a.length = a.position + 1;
        const float *q = room->z + t * a.q_stride;
        float *y = room->y + t * a.y_stride;
        if (bytes) rows->kernels->attend_bytes(&a, q, y, room->scores);
        else attend(rows, &a, q, y);
    }
    leave(rows, &layer->attn_out, &layer->attn_post, tokens->count);
}

static void attend_memory(ch_rows *rows, int index, const ch_tokens *tokens) {
    const ch_model *m = rows->model;
    const ch_layer *layer = &m->decoder[index];
    ch_room *room = &rows->room;
    int queries = m->heads * m->head;
    const float *in = normalized(rows, &layer->cross, room->x, tokens->count, room->y);
    linear(rows, &layer->cross_q, in, m->width, tokens->count, room->z, queries, CH_NONE, NULL);
    for (int t = 0; t < tokens->count; t++) prepare_heads(rows, room->z + (size_t)t * queries, m->heads, 0, 0);
    ch_attention a = attention_of(m, queries);
    a.position_stride = m->head;
    for (int t = 0; t < tokens->count; t += a.queries) {
        const ch_memory *memory = rows->memory[tokens->row[t]];
        size_t part = (size_t)m->kv_heads * memory->length * m->head;
        for (a.queries = 1; t + a.queries < tokens->count && rows->memory[tokens->row[t + a.queries]] == memory;) a.queries++;
        a.keys = memory->cache + 2 * index * part;
        a.values = a.keys + part;
        a.head_stride = (size_t)memory->length * m->head;
        a.length = memory->length;
        attend(rows, &a, room->z + t * a.q_stride, room->y + t * a.y_stride);
    }
    leave(rows, &layer->cross_out, &layer->cross_post, tokens->count);
}

static void feed_forward(ch_rows *rows, const ch_layer *layer, int n) {
    const ch_model *m = rows->model;
    ch_room *room = &rows->room;
    int up = layer->up.outputs, inside = !m->gated && m->activation != CH_SOFTMAX;
    if (!layer->up.weight) return;
    const float *in = normalized(rows, &layer->mlp, room->x, n, room->y);
    linear(rows, &layer->up, in, m->width, n, room->f, up, inside ? m->activation : CH_NONE, NULL);
    for (int r = 0; r < n && !inside; r++) {
        float *f = room->f + (size_t)r * up;
        if (m->gated) {
            rows->kernels->gate(m->activation, f, m->inner, f);
            continue;
        }
        rows->kernels->softmax(f, m->d_ff);
        memset(f + m->d_ff, 0, (up - m->d_ff) * sizeof(float));
    }
    linear(rows, &layer->down, room->f, up, n, room->x, m->width, CH_NONE, m->residual ? room->x : NULL);
    normalized(rows, &layer->mlp_post, room->x, n, room->x);
}

void ch_run_decoder(ch_rows *rows, const ch_tokens *tokens) {
    const ch_model *m = rows->model;
    embed(rows, tokens, 0);
    for (int index = 0; index < m->decoder_layers; index++) {
        attend_past(rows, index, tokens);
        if (m->decoder[index].cross_q.weight) attend_memory(rows, index, tokens);
        feed_forward(rows, &m->decoder[index], tokens->count);
    }
    normalized(rows, &m->decoder_norm, rows->room.x, tokens->count, rows->room.x);
}

void ch_logits(ch_rows *rows, const float *states, int count, float *logits) {
    const ch_linear *head = &rows->model->lm_head;
    linear(rows, head, states, rows->model->width, count, logits, head->outputs, CH_NONE, NULL);
}

void ch_row_logits(ch_rows *rows, const int *row, const float *states, int count, float *logits) {
    size_t width = rows->model->width, wide = rows->model->lm_head.outputs;
    if (rows->columns) ch_columns_tidy(rows);
    for (int first = 0, n; first < count; first += n) {
        int shorter = ch_shortlist_of(rows, row[first]) != NULL;
        for (n = 1; first + n < count && (ch_shortlist_of(rows, row[first + n]) != NULL) == shorter;) n++;
        const ch_linear *head = shorter ? &rows->columns->head : &rows->model->lm_head;
        float *y = logits + first * wide;
        linear(rows, head, states + first * width, (int)width, n, y, (int)wide, CH_NONE, NULL);
        for (int r = 0; shorter && r < n; r++) ch_pick(rows->columns, ch_shortlist_of(rows, row[first + r]), y + r * wide);
    }
}

/* Logits of states by the head of an encoder without a decoder; room.y holds what its first layer gives. */
void ch_run_head(ch_rows *rows, const float *states, int count, float *logits) {
    const ch_model *m = rows->model;
    float *y = rows->room.y;
    if (m->transform.weight) {
        int shared = m->head_activation == CH_SOFTMAX; /* its features depend on each other */
        linear(rows, &m->transform, states, m->width, count, y, m->width, shared ? CH_NONE : m->head_activation, NULL);
        for (int r = 0; shared && r < count; r++) rows->kernels->softmax(y + (size_t)r * m->width, m->d_model);
        states = normalized(rows, &m->head_norm, y, count, y);
    }
    ch_logits(rows, states, count, logits);
}

void ch_encode_tokens(ch_rows *rows, const ch_tokens *tokens) {
    const ch_model *m = rows->model;
    embed(rows, tokens, 1);
    for (int index = 0; index < m->encoder_layers; index++) {
        attend_source(rows, &m->encoder[index], tokens);
        feed_forward(rows, &m->encoder[index], tokens->count);
    }
    normalized(rows, &m->encoder_norm, rows->room.x, tokens->count, rows->room.x);
}

size_t ch_memory_size(const ch_model *m, int length) {
    return sizeof(ch_memory) + (size_t)m->decoder_layers * 2 * m->kv_heads * length * m->head * sizeof(float);
}

void ch_fill_memories(ch_rows *rows, ch_memory **memories, int count, int tokens) {
    const ch_model *m = rows->model;
    ch_room *room = &rows->room;
    int wide = 2 * m->kv_heads * m->head;
    for (int index = 0; index < m->decoder_layers; index++) {
        linear(rows, &m->decoder[index].cross_kv, room->x, m->width, tokens, room->z, wide, CH_NONE, NULL);
        for (int t = 0; t < tokens; t++) prepare_heads(rows, room->z + (size_t)t * wide, m->kv_heads, 0, 0);
        const float *from = room->z;
        for (int s = 0; s < count; from += (size_t)memories[s]->length * wide, s++) {
            float *to = memories[s]->cache + (size_t)index * memories[s]->length * wide;
            for (int h = 0; h < 2 * m->kv_heads; h++)
                for (int t = 0; t < memories[s]->length; t++, to += m->head)
                    memcpy(to, from + (size_t)t * wide + (size_t)h * m->head, m->head * sizeof(float));
        }
    }
}
