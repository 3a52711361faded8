/* Threads that help with one product or attention at a time, or with steps of several searches; see pool.c. */
#ifndef POOL_H
#define POOL_H

#include "kernels.h"

/* Work whose result is y [rows][stride]. It falls into units of `width` columns each: panels of a product, or heads.
 * `compute` writes the units first .. last - 1 of a job, a copy of what stands in `job`: either in their place (`apart`
 * is NULL), or to apart [rows][(last - first) * width], without what is to be added. Each thread has scratch memory. */
typedef struct {
    void (*compute)(const void *job, int first, int last, float *apart, float *scratch);
    const void *job;
    size_t job_size;       /* at most CH_JOB */
    float *y;
    const float *residual; /* as y, or NULL: what is added to the results */
    int rows, stride;
    int units, width;
    int at_once;           /* units of a chunk */
    float *scratch;        /* the caller's, and how many floats it has, or as many as others need */
    size_t scratch_size;
    int whole;             /* of ch_together */
} ch_work_shared;

#define CH_JOB 256

/* Computes all of it, in the calling thread and up to threads - 1 others, if they come in time. */
void ch_share(const ch_work_shared *work, int threads);
/* Calls compute(job, k, k + 1, NULL, NULL) for every k below `count`, side by side if threads are free. Each may change what
 * is its own, and take long: it is computed where it was begun, and the caller sleeps while it waits for others. */
void ch_together(void (*compute)(const void *job, int first, int last, float *apart, float *scratch), const void *job,
                 size_t job_size, int count);
/* Waits until no other thread reads what the caller's work was about, so that it may be freed or changed. */
void ch_settle(void);

#endif
