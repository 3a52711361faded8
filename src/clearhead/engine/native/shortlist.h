/* The pieces that may translate each source, and the part of the output layer that scores them.
 *
 * Columns of the output layer that the sources of some rows need are copied together, each once, and every row computes
 * all of them; a row then has the logits of its own source's pieces alone. So what it finds does not depend on the
 * sources beside it. A source that joins adds the columns that are not there yet; those of sources that have left go when
 * they are many. */
#ifndef SHORTLIST_H
#define SHORTLIST_H

#include "rows.h"

struct ch_shortlist {
    int count, seen;  /* pieces; scratch of the columns */
    int32_t *ids;     /* [count], ascending */
    int32_t *places;  /* [count], their columns among those that were copied */
};

struct ch_columns {
    ch_linear head;   /* columns in the order in which they came, packed as the whole layer; room for all of it */
    int count;        /* columns, without the padding of the last panel */
    int fresh;        /* columns when it was last looked whether all are needed; */
    int sources;      /* and sources then */
    int32_t *place;   /* [vocab], the column of a piece, or -1 */
    float *row;       /* [outputs], scratch */
    void *block;      /* all of it */
};

void ch_shortlist_free(ch_shortlist *list);
void ch_columns_free(ch_columns *columns);

/* The pieces of a row; NULL: all of the vocabulary. */
const ch_shortlist *ch_shortlist_of(const ch_rows *rows, int row);

/* Where the logit of a piece stands in a row: -1 where it may not come; without a list at its own number. */
int ch_place_of(const ch_shortlist *list, int32_t piece);

/* Whether these are pieces of the vocabulary, and ascend; there must be one. */
int ch_check_shortlist(const ch_model *model, const int32_t *ids, int count);

/* From now on the source of a row, and all rows that share it, have these pieces alone, which were checked. */
int ch_shorten(ch_rows *rows, int row, const int32_t *ids, int count);

/* Drops columns that no source of the rows needs, if that has become worth while. */
void ch_columns_tidy(ch_rows *rows);

/* Of a row of logits of all columns, brings those of the list's pieces to the front, in their order. */
void ch_pick(const ch_columns *columns, const ch_shortlist *list, float *logits);

#endif
