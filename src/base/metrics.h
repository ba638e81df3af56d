/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that all processes of a pool share. The master maps it before it forks, from a memfd
 * whose descriptor survives the master's exec on reload, so counts go on over a new binary.
 * Every field is an atomic; counting takes no lock.
 */
#ifndef TALLYGATE_BASE_METRICS_H
#define TALLYGATE_BASE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct metrics {
    uint64_t layout;                    /* a binary with another layout makes new memory */
    _Atomic int64_t started_us;         /* when the pool's first master started, Unix µs */
    _Atomic uint64_t workers_ready;     /* workers that accept requests now */
    _Atomic uint64_t workers_replaced;  /* workers that died and were started again */
    _Atomic uint64_t requests_total[6]; /* by status class: [2] counts 2xx … ; [0] the rest */
    _Atomic uint64_t events_recorded;   /* events acknowledged as recorded */
    _Atomic uint64_t events_duplicate;  /* events answered as duplicates */
    _Atomic uint64_t ingest_batches;    /* transactions that the committers made */
    _Atomic uint64_t token_cache_hits;  /* tokens that were known from an earlier request */
    _Atomic uint64_t token_cache_misses;
    _Atomic uint64_t answer_cache_hits_process; /* answers that the worker had kept */
    _Atomic uint64_t answer_cache_hits_redis;   /* answers that another one had kept */
    _Atomic uint64_t answer_cache_misses;       /* answers that had to be made */
};

/* Map the memory behind `fd`, or make new memory when fd is -1 or does not fit. Returns NULL with
 * errno set when the kernel refuses. *ret_fd is inherited over exec. */
struct metrics *metrics_map(int fd, int *ret_fd);

#endif
