/* SPDX-License-Identifier: Apache-2.0 */
#include "report/report_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static const struct pg_statement PIECE = {
    "report_piece",
    "SELECT piece FROM report_files WHERE workspace_id = $1 AND run_id = $2::uuid AND no = $3"};

/* Take a piece of the file. False: no more are wanted. */
typedef bool piece_taker(void *argument, const uint8_t *piece, size_t length);

/* ERR_UNAVAILABLE also when no more are wanted. */
static enum err each_piece(struct request *request, const struct report_file *file, piece_taker *take,
                           void *argument)
{
    int64_t seen = 0;
    for (int no = 0; seen < file->size_bytes; no++) {
        struct pg_params params = {0};
        PG_RESULT_AUTO row = NULL;
        size_t length = 0;
        pg_int(&params, request->principal.workspace_id);
        pg_text(&params, file->run_id);
        pg_int(&params, no);
        enum err e = pg_query(request->services->pg, &PIECE, &params, &row);
        if (e) {
            return e;
        }
        if (PQntuples(row) == 0) {
            return problem_say(&request->problem, ERR_NOT_FOUND, "The file is not kept any more.");
        }
        unsigned char *piece = PQunescapeBytea((const unsigned char *)PQgetvalue(row, 0, 0), &length);
        bool more = piece && take(argument, piece, length);
        PQfreemem(piece);
        if (!more) {
            return ERR_UNAVAILABLE;
        }
        seen += (int64_t)length;
    }
    return ERR_OK;
}

static const char *type_of(const char *format)
{
    return strcmp(format, "pdf") == 0    ? "application/pdf"
           : strcmp(format, "html") == 0 ? "text/html; charset=utf-8"
           : strcmp(format, "csv") == 0  ? "text/csv; charset=utf-8; header=present"
                                         : "application/json";
}

/* ---- through the worker ---- */

/* Only an answer that is the file has its name. */
static void name_answer(struct request *request, struct response *response, const struct report_file *file)
{
    response_header(response, "Content-Disposition",
                    arena_printf(request->arena, "attachment; filename=\"%s\"", file->name));
}

struct sending {
    struct request *request;
    struct response *response;
    const struct report_file *file;
};

static bool take_for_client(void *argument, const uint8_t *piece, size_t length)
{
    const struct sending *sending = argument;
    if (!sending->response->stream->started) {
        name_answer(sending->request, sending->response, sending->file);
    }
    return response_send(sending->response, (const char *)piece, length);
}

static enum err send_in_pieces(struct request *request, struct response *response,
                               const struct report_file *file)
{
    response_empty(response, 200);
    response->content_type = type_of(file->format);
    struct sending sending = {request, response, file};
    enum err e = each_piece(request, file, take_for_client, &sending);
    return response->stream->broken ? ERR_OK : e; /* whoever sends them knows that nobody takes them */
}

/* ---- by nginx ---- */

struct writing {
    int fd;
    int error; /* errno of what the disk did not do; 0: it did all */
};

static bool take_for_disk(void *argument, const uint8_t *piece, size_t length)
{
    struct writing *writing = argument;
    while (length) {
        ssize_t written = write(writing->fd, piece, length);
        if (written < 0) {
            writing->error = errno;
            return false;
        }
        piece += written;
        length -= (size_t)written;
    }
    return true;
}

/* Its name comes last, when all of it is on the disk. */
static int name_it(int fd, const char *half, const char *path, int64_t made_us)
{
    const struct timespec times[2] = {
        {.tv_nsec = UTIME_NOW}, {.tv_sec = made_us / USEC_PER_SEC, .tv_nsec = made_us % USEC_PER_SEC * 1000}};
    bool named =
        fchmod(fd, 0640) == 0 && futimens(fd, times) == 0 && fdatasync(fd) == 0 && rename(half, path) == 0;
    return named ? 0 : errno;
}

/* Whole or not at all, whoever else puts it there at the same time. *ret_error: as in struct writing. */
static enum err put_on_disk(struct request *request, const struct report_file *file, const char *path,
                            int *ret_error)
{
    uint8_t mark[16];
    char mark_text[UUID_TEXT_SIZE];
    uuid_v7(mark);
    uuid_format(mark, mark_text);
    const char *half = arena_printf(request->arena, "%s.%s", path, mark_text);
    struct writing writing = {.fd = open(half, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (writing.fd < 0) {
        *ret_error = errno;
        return ERR_UNAVAILABLE;
    }
    enum err e = each_piece(request, file, take_for_disk, &writing);
    if (!e) {
        writing.error = name_it(writing.fd, half, path, file->made_us);
    }
    close(writing.fd);
    if (e || writing.error) {
        unlink(half);
    }
    *ret_error = writing.error;
    return e;
}

/* One that is asked for again stays for another day. */
static bool is_kept(const char *path, int64_t size_bytes)
{
    static const struct timespec READ_NOW[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
    struct stat there;
    return stat(path, &there) == 0 && there.st_size == size_bytes &&
           utimensat(AT_FDCWD, path, READ_NOW, 0) == 0;
}

enum err report_file_send(struct request *request, struct response *response, const struct report_file *file)
{
    if (request->principal.kind == PRINCIPAL_SHELL) {
        return send_in_pieces(request, response, file);
    }
    int error = 0;
    const char *name = arena_printf(request->arena, "report-%s.%s", file->run_id, file->format);
    const char *path = arena_printf(request->arena, "%s/%s", request->services->config->cache_dir, name);
    enum err e = is_kept(path, file->size_bytes) ? ERR_OK : put_on_disk(request, file, path, &error);
    if (error) {
        log_warn("%s: cannot be written, and goes through the worker: %s", path, strerror(error));
        return send_in_pieces(request, response, file);
    }
    if (!e) {
        name_answer(request, response, file);
        response_file(response, type_of(file->format),
                      arena_printf(request->arena, "/.tallygate-files/%s", name));
    }
    return e;
}
