/* Parts of a long work, dealt out among threads that are started for it; see deal.c. */
#ifndef DEAL_H
#define DEAL_H

typedef struct ch_parts ch_parts;

/* Runs `work` in the calling thread and up to threads - 1 others, and waits for all of them. Each claims part after part.
 * Where one fails the others get no further parts, and its reason is the call's. */
int ch_deal(int parts, int threads, int (*work)(void *job, ch_parts *parts), void *job);
int ch_claim(ch_parts *parts);            /* the number of the next part; -1: there is none */
int ch_unclaimed(const ch_parts *parts);  /* how many parts there are still */

#endif
