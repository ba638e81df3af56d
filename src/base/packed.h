/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files compressed by zstd, written and read as streams in constant memory. A file has its name only when it
 * is whole and on disk; until then it is NAME.partial. Its SHA-256 is of the bytes of the file, as
 * sha256sum(1) tells it, and each frame carries a checksum of its content, which zstd(1) and the reader
 * compare.
 *
 * The functions return false, or -1, after putting a line into `error`, which has PACKED_ERROR_SIZE bytes.
 */
#ifndef TALLYGATE_BASE_PACKED_H
#define TALLYGATE_BASE_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/crypto.h"

enum { PACKED_ERROR_SIZE = 400 };

struct packed_sum {
    int64_t bytes;       /* of the file */
    int64_t plain_bytes; /* of what is in it */
    uint8_t sha256[CRYPTO_SHA256_SIZE];
};

struct packed_writer;

/* Begin to write `path`, for its owner alone. NULL when that cannot be done, as when it exists. */
struct packed_writer *packed_create(const char *path, char *error);
bool packed_write(struct packed_writer *writer, const void *data, size_t length, char *error);
/* Make it whole and durable under its name. The writer is gone, whatever comes of it. */
bool packed_finish(struct packed_writer *writer, struct packed_sum *ret_sum, char *error);
/* Give it up; NULL is fine. */
void packed_discard(struct packed_writer *writer);

struct packed_reader;

/* Read `path`, or standard input for "-". What does not begin as a zstd frame is handed on as it is. */
struct packed_reader *packed_open(const char *path, char *error);
/* Up to `size` bytes; 0 at the end, which for a frame that is cut is an error. */
ssize_t packed_read(struct packed_reader *reader, void *ret_data, size_t size, char *error);
/* The size of the file, 0 when it has none, and how much of it was read. */
int64_t packed_size(const struct packed_reader *reader);
int64_t packed_place(const struct packed_reader *reader);
/* What was read so far: at the end, of the whole file. */
bool packed_sum(struct packed_reader *reader, struct packed_sum *ret_sum);
void packed_close(struct packed_reader *reader);

/* Read a whole file: its sum, as hex, and, in passing, whether what is in it is whole. */
bool packed_sum_file(const char *path, char ret_hex[2 * CRYPTO_SHA256_SIZE + 1], char *error);

/* Write a small file whole and durably, for its owner alone; it must not exist. */
bool packed_put(const char *path, const void *data, size_t length, char *error);
/* Make the names in the directory durable. */
bool packed_sync_directory(const char *directory, char *error);

#endif
