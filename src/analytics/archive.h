/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events that are past: partitions that are written into archives, dropped, and brought back.
 *
 * Retention drops whole partitions, never rows. What the events counted for stays in the rollups, so figures
 * of those days are told for ever; only lists and exports end. Before it is dropped a partition is taken out
 * of the table, so that nothing can be added to it any more, then written, and the file read again and
 * compared; only then it goes, in one transaction with the note of it in event_archives. Whatever fails on
 * the way, and whenever, the next attempt goes on with the partition that was taken out.
 *
 * An archive is NDJSON, an event a line, in one file of zstd's with its sum beside it as sha256sum(1) writes
 * it. Events that come back from one are not counted again.
 */
#ifndef TALLYGATE_ANALYTICS_ARCHIVE_H
#define TALLYGATE_ANALYTICS_ARCHIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/packed.h"
#include "base/progress.h"
#include "store/pg.h"

enum {
    /* As long as the duplicate window may last: younger partitions are needed to tell what was recorded. */
    ARCHIVE_KEEP_DAYS_MIN = 62,
    ARCHIVE_NAME_SIZE = 32,
    ARCHIVE_PATH_SIZE = 800,
    ARCHIVE_ERROR_SIZE = PACKED_ERROR_SIZE,
};

struct archive {
    char partition[ARCHIVE_NAME_SIZE];
    int64_t events;
    int64_t bytes;
    char sha256[2 * CRYPTO_SHA256_SIZE + 1];
    char file[ARCHIVE_PATH_SIZE]; /* "": none was written */
};

/* All partitions with a span of their own, the oldest first: name, first, next (RFC 3339), attached, events
 * about, bytes, and the file that they were last archived in, or NULL. */
enum err archive_partitions(struct pg *pg, PGresult **ret_rows);
enum {
    ARCHIVE_NAME,
    ARCHIVE_FIRST,
    ARCHIVE_NEXT,
    ARCHIVE_ATTACHED,
    ARCHIVE_EVENTS,
    ARCHIVE_BYTES,
    ARCHIVE_FILE
};

/* The functions below need the owner of the schema. They return false after putting a line into ret_error. */

/* Write a partition into `directory`, and note it. It stays. */
bool archive_write(struct pg *pg, const char *partition, const char *directory,
                   const struct progress *progress, struct archive *ret_archive,
                   char ret_error[ARCHIVE_ERROR_SIZE]);
/* Write it unless `directory` is NULL, and drop it. */
bool archive_prune(struct pg *pg, const char *partition, const char *directory,
                   const struct progress *progress, struct archive *ret_archive,
                   char ret_error[ARCHIVE_ERROR_SIZE]);

/* Whether a file is an archive that this installation wrote: its events were counted, and must not be
 * recorded again. */
bool archive_is_ours(struct pg *pg, const char *path, bool *ret_ours, char ret_error[ARCHIVE_ERROR_SIZE]);

struct archive_restored {
    int64_t events; /* in the archive */
    int64_t added;  /* the others were there already, or their workspace is gone */
};

/* Bring back the events of an archive that this installation wrote and dropped. May be done again, as after
 * an interruption. */
bool archive_restore(struct pg *pg, const char *path, const struct progress *progress,
                     struct archive_restored *ret_restored, char ret_error[ARCHIVE_ERROR_SIZE]);

#endif
