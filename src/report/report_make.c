/* SPDX-License-Identifier: Apache-2.0 */
#include "report/report_make.h"

#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "identity/domain_event.h"
#include "report/report_write.h"

enum { PIECE_BYTES = 1024 * 1024 };

/* Who comes a second time finds it running, after a process was lost, or failed, after somebody had the job
 * tried again. */
static const struct pg_statement BEGIN = {
    "report_begin",
    "UPDATE report_runs r SET state = 'running', started_at = now(), finished_at = NULL, error = NULL FROM workspaces w, reports o "
    "WHERE r.workspace_id = $1 AND r.id = $2::uuid AND r.state <> 'done' AND w.id = r.workspace_id "
    "AND o.workspace_id = r.workspace_id AND o.id = r.report_id "
    "RETURNING r.name, w.name, r.format, r.first_day::text, (r.first_day + r.days - 1)::text, r.days, "
    "array_to_string(r.sections, ' ')"};
/* Held to the end, so that a deletion finds all or nothing. */
static const struct pg_statement HOLD = {
    "report_hold",
    "SELECT FROM reports o JOIN report_runs r ON r.workspace_id = o.workspace_id AND r.report_id = o.id "
    "WHERE o.workspace_id = $1 AND r.id = $2::uuid FOR KEY SHARE OF o"};
static const struct pg_statement PIECE = {
    "report_put", "INSERT INTO report_files (workspace_id, run_id, no, piece) VALUES ($1, $2::uuid, $3, $4)"};
static const struct pg_statement DONE = {
    "report_done",
    "UPDATE report_runs SET state = 'done', finished_at = now(), size_bytes = $3, sha256 = $4, error = NULL "
    "WHERE workspace_id = $1 AND id = $2::uuid AND state = 'running' RETURNING 1"};
static const struct pg_statement FAILED = {
    "report_failed", "UPDATE report_runs SET state = 'failed', finished_at = now(), error = $3 "
                     "WHERE workspace_id = $1 AND id = $2::uuid AND state = 'running'"};

enum { NAME, WORKSPACE, FORMAT, FIRST, LAST, DAYS, SECTIONS };

struct making {
    int64_t workspace_id;
    const char *run_id;
    struct buf *file;
};

static void run_params(const struct making *making, struct pg_params *params)
{
    pg_int(params, making->workspace_id);
    pg_text(params, making->run_id);
}

static enum err fail(struct pg *pg, const struct making *making, const char *words)
{
    struct pg_params params = {0};
    run_params(making, &params);
    pg_text(&params, words);
    return pg_query(pg, &FAILED, &params, NULL);
}

/* The file's pieces, and what is to be told of it. */
static enum err keep(struct pg *pg, void *argument)
{
    const struct making *making = argument;
    const struct buf *file = making->file;
    uint8_t hash[CRYPTO_SHA256_SIZE];
    struct pg_params run = {0}, done = {0};
    PG_RESULT_AUTO held = NULL;
    PG_RESULT_AUTO told = NULL;
    crypto_sha256(file->data, file->length, hash);
    run_params(making, &done);
    pg_int(&done, (int64_t)file->length);
    pg_bytes(&done, hash, sizeof(hash));
    run_params(making, &run);
    enum err e = pg_query(pg, &HOLD, &run, &held);
    if (e || PQntuples(held) == 0) { /* the report was deleted */
        return e;
    }
    e = pg_query(pg, &DONE, &done, &told);
    if (e || PQntuples(told) == 0) { /* it was deleted meanwhile, or somebody else was quicker */
        return e;
    }
    for (size_t at = 0, no = 0; !e && at < file->length; at += PIECE_BYTES, no++) {
        struct pg_params params = {0};
        size_t rest = file->length - at;
        run_params(making, &params);
        pg_int(&params, (int64_t)no);
        pg_bytes(&params, file->data + at, rest < PIECE_BYTES ? rest : PIECE_BYTES);
        e = pg_query(pg, &PIECE, &params, NULL);
    }
    return e ? e : domain_event_report(pg, making->workspace_id, making->run_id);
}

static bool write_file(const struct report_content *content, const char *format, struct buf *out)
{
    if (strcmp(format, "pdf") == 0) {
        return report_write_pdf(content, out);
    }
    if (strcmp(format, "html") == 0) {
        report_write_html(content, out);
    } else if (strcmp(format, "csv") == 0) {
        report_write_csv(content, out);
    } else {
        report_write_json(content, out);
    }
    return true;
}

/* The sections by their names; one of a later version is left out. */
static void read_sections(const char *names, struct report_content *content)
{
    while (*names) {
        char name[32];
        size_t length = strcspn(names, " ");
        if (length < sizeof(name) && content->tables_count < REPORT_SECTIONS) {
            memcpy(name, names, length);
            name[length] = '\0';
            content->tables[content->tables_count].section = report_section_find(name);
            content->tables_count += content->tables[content->tables_count].section != NULL;
        }
        names += length + (names[length] == ' ');
    }
}

static enum err make(struct pg *pg, struct making *making, const PGresult *row)
{
    static const char CANCELED[] = "57014"; /* jobs_statement_timeout_s */
    char made_at[CLOCK_TEXT_SIZE];
    struct report_content content = {.name = pg_get_text(row, 0, NAME),
                                     .workspace = pg_get_text(row, 0, WORKSPACE),
                                     .first_day = pg_get_text(row, 0, FIRST),
                                     .last_day = pg_get_text(row, 0, LAST),
                                     .made_at = made_at};
    clock_format(clock_now_us() / USEC_PER_SEC * USEC_PER_SEC, made_at);
    read_sections(pg_get_text(row, 0, SECTIONS), &content);
    enum err e = report_content_read(pg, making->workspace_id, pg_get_int(row, 0, DAYS), &content);
    bool written = !e && write_file(&content, pg_get_text(row, 0, FORMAT), making->file);
    report_content_free(&content);
    if (e == ERR_UNAVAILABLE && strcmp(pg_sqlstate(pg), CANCELED) == 0) {
        return fail(pg, making, "it takes too long: choose fewer days, or leave out top_users");
    }
    if (e) {
        return e;
    }
    if (!written || making->file->overflow) {
        return fail(pg, making, written ? "the file would be larger than 32 MiB" : "it cannot be drawn");
    }
    return pg_transaction(pg, keep, making);
}

enum err report_make(struct pg *pg, int64_t workspace_id, const char *run_id, bool last)
{
    struct buf file;
    struct making making = {workspace_id, run_id, &file};
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    run_params(&making, &params);
    enum err e = pg_query(pg, &BEGIN, &params, &row);
    if (e || PQntuples(row) == 0) {
        return e;
    }
    buf_init(&file, REPORT_FILE_MAX);
    e = make(pg, &making, row);
    buf_free(&file);
    if (e && last) {
        (void)fail(pg, &making, "it could not be made; the log says why"); /* else its dead job tells */
    }
    return e;
}
