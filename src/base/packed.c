/* SPDX-License-Identifier: Apache-2.0 */
#include "base/packed.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/mem.h"

enum { LEVEL = 6, PATH_SIZE = 1024 };

struct packed_writer {
    char path[PATH_SIZE];
    char partial[PATH_SIZE + 8];
    int fd;
    ZSTD_CCtx *context;
    EVP_MD_CTX *digest;
    struct packed_sum sum;
    size_t room;
    char out[];
};

struct packed_reader {
    char path[PATH_SIZE];
    int fd;
    bool plain;
    bool ended;    /* of the file */
    bool in_frame; /* between its first byte and its last */
    int64_t size;
    ZSTD_DCtx *context;
    EVP_MD_CTX *digest;
    struct packed_sum sum;
    ZSTD_inBuffer in;
    size_t room;
    char data[];
};

static bool fail(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(char *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, PACKED_ERROR_SIZE, format, args);
    va_end(args);
    return false;
}

static EVP_MD_CTX *digest_new(void)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (!digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1) {
        abort(); /* OpenSSL is out of memory, or has no SHA-256 */
    }
    return digest;
}

static bool write_all(int fd, const char *data, size_t length)
{
    while (length) {
        ssize_t n = write(fd, data, length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return false;
        }
        data += n;
        length -= (size_t)n;
    }
    return true;
}

bool packed_sync_directory(const char *directory, char *error)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    int saved = errno;
    if (fd >= 0) {
        close(fd);
    }
    return synced || fail(error, "%s: %s", directory, strerror(saved));
}

static bool sync_parent(const char *path, char *error)
{
    char directory[PATH_SIZE];
    snprintf(directory, sizeof(directory), "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash) {
        slash[slash == directory] = '\0';
    }
    return packed_sync_directory(slash ? directory : ".", error);
}

/* ---- writing ---- */

struct packed_writer *packed_create(const char *path, char *error)
{
    size_t room = ZSTD_CStreamOutSize();
    struct packed_writer *writer = mem_zalloc(1, sizeof(*writer) + room);
    writer->room = room;
    writer->fd = -1;
    if (strlen(path) >= sizeof(writer->path)) {
        fail(error, "%.80s…: the path is too long", path);
    } else if (access(path, F_OK) == 0) {
        fail(error, "%s: is there already", path);
    } else {
        snprintf(writer->path, sizeof(writer->path), "%s", path);
        snprintf(writer->partial, sizeof(writer->partial), "%s.partial", path);
        writer->fd = open(writer->partial, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (writer->fd < 0) {
            fail(error, "%s: %s", writer->partial, strerror(errno));
        }
    }
    if (writer->fd < 0) {
        free(writer);
        return NULL;
    }
    writer->context = ZSTD_createCCtx();
    if (!writer->context) {
        abort();
    }
    ZSTD_CCtx_setParameter(writer->context, ZSTD_c_compressionLevel, LEVEL);
    ZSTD_CCtx_setParameter(writer->context, ZSTD_c_checksumFlag, 1);
    writer->digest = digest_new();
    return writer;
}

static bool put(struct packed_writer *writer, ZSTD_inBuffer *in, ZSTD_EndDirective directive, char *error)
{
    for (;;) {
        ZSTD_outBuffer out = {writer->out, writer->room, 0};
        size_t left = ZSTD_compressStream2(writer->context, &out, in, directive);
        if (ZSTD_isError(left)) {
            return fail(error, "%s: %s", writer->partial, ZSTD_getErrorName(left));
        }
        if (!write_all(writer->fd, writer->out, out.pos)) {
            return fail(error, "%s: %s", writer->partial, strerror(errno));
        }
        EVP_DigestUpdate(writer->digest, writer->out, out.pos);
        writer->sum.bytes += (int64_t)out.pos;
        if (directive == ZSTD_e_end ? left == 0 : in->pos == in->size) {
            return true;
        }
    }
}

bool packed_write(struct packed_writer *writer, const void *data, size_t length, char *error)
{
    ZSTD_inBuffer in = {data, length, 0};
    writer->sum.plain_bytes += (int64_t)length;
    return put(writer, &in, ZSTD_e_continue, error);
}

static void writer_free(struct packed_writer *writer)
{
    if (writer->fd >= 0) {
        close(writer->fd);
    }
    ZSTD_freeCCtx(writer->context);
    EVP_MD_CTX_free(writer->digest);
    free(writer);
}

bool packed_finish(struct packed_writer *writer, struct packed_sum *ret_sum, char *error)
{
    ZSTD_inBuffer none = {NULL, 0, 0};
    bool done = put(writer, &none, ZSTD_e_end, error);
    if (done && (fsync(writer->fd) != 0 || rename(writer->partial, writer->path) != 0)) {
        done = fail(error, "%s: %s", writer->partial, strerror(errno));
    }
    done = done && sync_parent(writer->path, error);
    if (!done) {
        packed_discard(writer);
        return false;
    }
    EVP_DigestFinal_ex(writer->digest, writer->sum.sha256, NULL);
    *ret_sum = writer->sum;
    writer_free(writer);
    return true;
}

void packed_discard(struct packed_writer *writer)
{
    if (writer) {
        unlink(writer->partial);
        writer_free(writer);
    }
}

bool packed_put(const char *path, const void *data, size_t length, char *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write_all(fd, data, length) && fsync(fd) == 0;
    int saved = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (!written) {
        if (fd >= 0) {
            unlink(path);
        }
        return fail(error, "%s: %s", path, strerror(saved));
    }
    return sync_parent(path, error);
}

/* ---- reading ---- */

/* At least `least` bytes, unless the file ends: a pipe gives what it has. */
static bool refill(struct packed_reader *reader, size_t least, char *error)
{
    size_t length = 0;
    ssize_t n = 1;
    while (length < least && n > 0) {
        n = read(reader->fd, reader->data + length, reader->room - length);
        if (n < 0 && errno == EINTR) {
            n = 1;
        } else if (n < 0) {
            return fail(error, "%s: %s", reader->path, strerror(errno));
        } else {
            length += (size_t)n;
        }
    }
    reader->ended = length == 0;
    reader->in = (ZSTD_inBuffer){reader->data, length, 0};
    reader->sum.bytes += (int64_t)length;
    EVP_DigestUpdate(reader->digest, reader->data, length);
    return true;
}

struct packed_reader *packed_open(const char *path, char *error)
{
    static const unsigned char MAGIC[] = {0x28, 0xb5, 0x2f, 0xfd};
    struct stat st;
    size_t room = ZSTD_DStreamInSize();
    struct packed_reader *reader = mem_zalloc(1, sizeof(*reader) + room);
    bool stdin_meant = strcmp(path, "-") == 0;
    reader->room = room;
    snprintf(reader->path, sizeof(reader->path), "%s", stdin_meant ? "standard input" : path);
    reader->fd = stdin_meant ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
    reader->digest = digest_new();
    reader->context = ZSTD_createDCtx();
    if (!reader->context) {
        abort();
    }
    if (reader->fd < 0 || fstat(reader->fd, &st) != 0) {
        fail(error, "%s: %s", reader->path, strerror(errno));
        packed_close(reader);
        return NULL;
    }
    reader->size = S_ISREG(st.st_mode) ? st.st_size : 0;
    if (!refill(reader, sizeof(MAGIC), error)) {
        packed_close(reader);
        return NULL;
    }
    reader->plain = reader->in.size < sizeof(MAGIC) || memcmp(reader->data, MAGIC, sizeof(MAGIC)) != 0;
    return reader;
}

ssize_t packed_read(struct packed_reader *reader, void *ret_data, size_t size, char *error)
{
    ZSTD_outBuffer out = {ret_data, size, 0};
    while (out.pos == 0 && !reader->ended) {
        if (reader->in.pos == reader->in.size) {
            if (!refill(reader, 1, error)) {
                return -1;
            }
            continue;
        }
        if (reader->plain) {
            size_t left = reader->in.size - reader->in.pos;
            out.pos = left < size ? left : size;
            memcpy(ret_data, reader->data + reader->in.pos, out.pos);
            reader->in.pos += out.pos;
            break;
        }
        size_t hint = ZSTD_decompressStream(reader->context, &out, &reader->in);
        if (ZSTD_isError(hint)) {
            fail(error, "%s: is damaged: %s", reader->path, ZSTD_getErrorName(hint));
            return -1;
        }
        reader->in_frame = hint != 0;
    }
    /* What the decoder still holds comes without further input. */
    if (out.pos == 0 && reader->ended && reader->in_frame) {
        ZSTD_inBuffer none = {NULL, 0, 0};
        size_t hint = ZSTD_decompressStream(reader->context, &out, &none);
        if (ZSTD_isError(hint) || (out.pos == 0 && hint != 0)) {
            fail(error, "%s: is cut short", reader->path);
            return -1;
        }
        reader->in_frame = hint != 0;
    }
    reader->sum.plain_bytes += (int64_t)out.pos;
    return (ssize_t)out.pos;
}

int64_t packed_size(const struct packed_reader *reader)
{
    return reader->size;
}

int64_t packed_place(const struct packed_reader *reader)
{
    return reader->sum.bytes;
}

bool packed_sum(struct packed_reader *reader, struct packed_sum *ret_sum)
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    bool done = copy && EVP_MD_CTX_copy_ex(copy, reader->digest) == 1;
    if (done) {
        *ret_sum = reader->sum;
        EVP_DigestFinal_ex(copy, ret_sum->sha256, NULL);
    }
    EVP_MD_CTX_free(copy);
    return done;
}

bool packed_sum_file(const char *path, char ret_hex[2 * CRYPTO_SHA256_SIZE + 1], char *error)
{
    enum { CHUNK_BYTES = 256 * 1024 };
    struct packed_sum sum;
    struct packed_reader *reader = packed_open(path, error);
    if (!reader) {
        return false;
    }
    char *chunk = mem_alloc(CHUNK_BYTES);
    ssize_t n;
    while ((n = packed_read(reader, chunk, CHUNK_BYTES, error)) > 0) {
    }
    bool done = n == 0 && packed_sum(reader, &sum);
    packed_close(reader);
    free(chunk);
    if (done) {
        crypto_hex(sum.sha256, sizeof(sum.sha256), ret_hex);
    }
    return done;
}

void packed_close(struct packed_reader *reader)
{
    if (reader) {
        if (reader->fd >= 0) {
            close(reader->fd);
        }
        ZSTD_freeDCtx(reader->context);
        EVP_MD_CTX_free(reader->digest);
        free(reader);
    }
}
