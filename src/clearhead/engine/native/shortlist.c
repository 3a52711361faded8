/* Shortlists of output pieces: columns of the output layer, copied together into panels of their own. */
#include "shortlist.h"

#include <stdlib.h>
#include <string.h>

/* How a column stands in panels of each kind: `lines` times `unit` bytes, a panel's sixteen columns side by side. */
typedef struct {
    size_t unit, lines;
} ch_column;

static ch_column column_of(const ch_linear *w) {
    size_t inputs = w->inputs;
    if (w->kind == CH_INT8) return (ch_column){4, inputs / 4};
    return (ch_column){w->kind == CH_BFLOAT16 ? 2 : 4, inputs};
}

/* Copies a column of `from` to another place; sizes of a unit are constants, so that each copy is one instruction. */
static void copy_column(ch_column column, const char *from, int source, char *to, int target) {
    size_t line = column.unit * CH_PANEL, panel = line * column.lines;
    from += source / CH_PANEL * panel + source % CH_PANEL * column.unit;
    to += target / CH_PANEL * panel + target % CH_PANEL * column.unit;
    for (size_t l = 0; l < column.lines; l++, from += line, to += line) {
        if (column.unit == 4) memcpy(to, from, 4);
        else memcpy(to, from, 2);
    }
}

/* Where the sum of a column's weights stands, and CH_PANEL further that of the sizes of its negative ones. */
static size_t sums_at(int column) { return (size_t)column / CH_PANEL * 2 * CH_PANEL + column % CH_PANEL; }

static ch_columns *new_columns(const ch_model *model) {
    const ch_linear *whole = &model->lm_head;
    ch_column column = column_of(whole);
    size_t outputs = whole->outputs, weights = column.unit * column.lines * outputs;
    ch_columns *columns = calloc(1, sizeof *columns);
    char *block = columns ? ch_allocate(weights + 6 * outputs * sizeof(float)) : NULL; /* pages count when written to */
    if (!block) {
        free(columns);
        ch_fail("no memory for shortlists of %d pieces", model->vocab);
        return NULL;
    }
    float *bias = (float *)(block + weights), *scale = bias + outputs;
    int32_t *sums = (int32_t *)(scale + outputs);
    columns->block = block;
    columns->head = (ch_linear){block, whole->bias ? bias : NULL, whole->scale ? scale : NULL, whole->sums ? sums : NULL,
                                whole->inputs, 0, whole->kind, 0};
    columns->place = sums + 2 * outputs;
    columns->row = (float *)(columns->place + outputs);
    for (int k = 0; k < model->vocab; k++) columns->place[k] = -1;
    return columns;
}

/* Opens a panel of zeros at the end. */
static void add_panel(ch_columns *columns) {
    ch_linear *head = &columns->head;
    ch_column column = column_of(head);
    size_t panel = column.unit * column.lines * CH_PANEL, first = head->outputs;
    memset((char *)head->weight + first / CH_PANEL * panel, 0, panel);
    if (head->bias) memset((float *)head->bias + first, 0, CH_PANEL * sizeof(float));
    if (head->scale) memset((float *)head->scale + first, 0, CH_PANEL * sizeof(float));
    if (head->sums) memset((int32_t *)head->sums + 2 * first, 0, 2 * CH_PANEL * sizeof(int32_t));
    head->outputs += CH_PANEL;
}

/* Returns the column of a piece, which is copied if it is not there yet. */
static int32_t column_of_piece(ch_columns *columns, const ch_linear *whole, int32_t id) {
    int32_t *place = &columns->place[id], at = *place;
    if (at >= 0) return at;
    ch_linear *head = &columns->head;
    at = *place = columns->count++;
    if (at == head->outputs) add_panel(columns);
    copy_column(column_of(whole), whole->weight, id, (char *)head->weight, at);
    if (whole->bias) ((float *)head->bias)[at] = whole->bias[id];
    if (whole->scale) ((float *)head->scale)[at] = whole->scale[id];
    for (int half = 0; whole->sums && half < 2; half++)
        ((int32_t *)head->sums)[sums_at(at) + half * CH_PANEL] = whole->sums[sums_at(id) + half * CH_PANEL];
    return at;
}

void ch_columns_free(ch_columns *columns) {
    if (columns) free(columns->block);
    free(columns);
}

/* ---------------------------------------------------------------------------------------------------------------- one source */

void ch_shortlist_free(ch_shortlist *list) {
    if (list) free(list->ids);
    free(list);
}

const ch_shortlist *ch_shortlist_of(const ch_rows *rows, int row) {
    return rows->memory[row] ? rows->memory[row]->shortlist : NULL;
}

int ch_place_of(const ch_shortlist *list, int32_t piece) {
    if (!list) return piece;
    int low = 0, high = list->count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (list->ids[middle] < piece) low = middle + 1;
        else high = middle;
    }
    return low < list->count && list->ids[low] == piece ? low : -1;
}

int ch_check_shortlist(const ch_model *model, const int32_t *ids, int count) {
    if (count < 1) return ch_fail("a shortlist of %d pieces: must have at least 1", count);
    for (int k = 0; k < count; k++) {
        if (ids[k] < 0 || ids[k] >= model->vocab)
            return ch_fail("a shortlist with piece %d: must be from 0 to %d", ids[k], model->vocab - 1);
        if (k && ids[k] <= ids[k - 1]) return ch_fail("a shortlist with piece %d after %d: must ascend", ids[k], ids[k - 1]);
    }
    return 0;
}

static void find_places(ch_columns *columns, const ch_linear *whole, ch_shortlist *list) {
    for (int k = 0; k < list->count; k++) list->places[k] = column_of_piece(columns, whole, list->ids[k]);
}

int ch_shorten(ch_rows *rows, int row, const int32_t *ids, int count) {
    ch_memory *memory = rows->memory[row];
    if (!rows->columns && !(rows->columns = new_columns(rows->model))) return -1;
    ch_shortlist *list = calloc(1, sizeof *list);
    int32_t *block = malloc(2 * (size_t)count * sizeof *block);
    if (!list || !block) {
        free(list);
        free(block);
        return ch_fail("no memory for a shortlist of %d pieces", count);
    }
    *list = (ch_shortlist){count, 0, block, block + count};
    memcpy(list->ids, ids, count * sizeof *ids);
    find_places(rows->columns, &rows->model->lm_head, list);
    ch_shortlist_free(memory->shortlist);
    memory->shortlist = list;
    return 0;
}

/* --------------------------------------------------------------------------------------------------------------- all together */

void ch_pick(const ch_columns *columns, const ch_shortlist *list, float *logits) {
    for (int k = 0; k < list->count; k++) columns->row[k] = logits[list->places[k]];
    memcpy(logits, columns->row, list->count * sizeof *logits);
}

/* How many sources of the rows have a shortlist; marks each of these that it is seen, or that it is not. */
static int mark(const ch_rows *rows, int seen) {
    int sources = 0;
    for (int r = 0; r < rows->count; r++) {
        ch_shortlist *list = rows->memory[r]->shortlist;
        if (!list || list->seen == seen) continue;
        list->seen = seen;
        sources++;
    }
    return sources;
}

/* Counts the columns that some source needs. The sign of a place marks those that were counted. */
static int needed(ch_rows *rows) {
    int32_t *place = rows->columns->place;
    int count = 0;
    for (int r = 0; r < rows->count; r++) {
        const ch_shortlist *list = rows->memory[r]->shortlist;
        for (int k = 0; list && k < list->count; k++) {
            int32_t *at = &place[list->ids[k]];
            if (*at < 0) continue;
            *at = -2 - *at;
            count++;
        }
    }
    for (int k = 0; k < rows->model->vocab; k++)
        if (place[k] < -1) place[k] = -2 - place[k];
    return count;
}

void ch_columns_tidy(ch_rows *rows) {
    ch_columns *columns = rows->columns;
    int sources = mark(rows, 1);
    mark(rows, 0);
    if (2 * sources > columns->sources && columns->count <= 2 * columns->fresh) return;
    if (4 * needed(rows) <= 3 * columns->count) {
        columns->count = columns->head.outputs = 0;
        for (int k = 0; k < rows->model->vocab; k++) columns->place[k] = -1;
        for (int r = 0; r < rows->count; r++) {
            ch_shortlist *list = rows->memory[r]->shortlist;
            if (list && !list->seen) find_places(columns, &rows->model->lm_head, list);
            if (list) list->seen = 1;
        }
        mark(rows, 0);
    }
    columns->fresh = columns->count;
    columns->sources = sources;
}
