/* SPDX-License-Identifier: Apache-2.0 */
#include "report/report.h"

#include <stdlib.h>
#include <string.h>

#include "analytics/period.h"
#include "base/json.h"
#include "base/mem.h"
#include "http/keyset.h"
#include "http/validate.h"
#include "identity/item.h"
#include "report/report_content.h"

enum { REPORT_NAME_MAX = 100, RANGE_MAX = 20 };

#define ITEM                                                                                     \
    "json_build_object('id', id, 'name', name, 'sections', sections, 'range', range, 'format', " \
    "format, 'created_by', created_by, 'created_at', " PG_UTC("created_at") ")"
#define DETAIL "jsonb_build_object('workspace_id', workspace_id)"

static const struct pg_statement LIST = {
    "report_list",
    "SELECT id, " ITEM " FROM reports WHERE workspace_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1000"};
static const struct pg_statement SHOW = {
    "report_show", "SELECT id, " ITEM " FROM reports WHERE workspace_id = $1 AND id = $2::uuid"};
static const struct pg_statement CREATE = {
    "report_create",
    "INSERT INTO reports (workspace_id, id, name, sections, range, format, created_by) "
    "SELECT $1::bigint, $2::uuid, $3, $4::text[], $5, $6, (SELECT id FROM users WHERE id = $7) "
    "WHERE (SELECT count(*) FROM reports WHERE workspace_id = $1::bigint) < 100 RETURNING id, " DETAIL
    ", " ITEM};
static const struct pg_statement CHANGE = {
    "report_change",
    "UPDATE reports SET name = coalesce($3, name), sections = coalesce($4::text[], sections), "
    "range = coalesce($5, range), format = coalesce($6, format) "
    "WHERE workspace_id = $1 AND id = $2::uuid RETURNING id, " DETAIL ", " ITEM};
/* First alone, so that what follows sees what a run that ends meanwhile has kept. */
static const struct pg_statement HOLD = {
    "report_delete_hold", "SELECT FROM reports WHERE workspace_id = $1 AND id = $2::uuid FOR UPDATE"};
/* With its files, and the jobs that would make more. That runs were asked for goes on to count; nobody is
 * shown them. */
static const struct pg_statement DELETE = {
    "report_delete",
    "WITH gone AS (DELETE FROM reports WHERE workspace_id = $1 AND id = $2::uuid RETURNING id, workspace_id), "
    "runs AS (UPDATE report_runs SET name = '' WHERE workspace_id = $1 AND report_id = (SELECT id FROM gone) RETURNING id, job_id), "
    "files AS (DELETE FROM report_files WHERE workspace_id = $1 AND run_id IN (SELECT id FROM runs)), "
    "waiting AS (DELETE FROM jobs WHERE id IN (SELECT job_id FROM runs) AND state = 'waiting') "
    "SELECT id, " DETAIL " FROM gone"};

enum err report_list(struct request *request, struct response *response)
{
    return item_list(request, response, &LIST);
}

enum err report_show(struct request *request, struct response *response)
{
    return item_show(request, response, REPORT_KIND, &SHOW);
}

/* ---- what may be asked for ---- */

/* The sections as an array of PostgreSQL's, in the order that was given; NULL where there is none. */
static enum err read_sections(struct request *request, const struct value *value, const char **ret_array)
{
    const struct report_section *seen[REPORT_SECTIONS];
    const char *array = "";
    *ret_array = NULL;
    for (size_t i = 0; value->present && i < json_object_array_length(value->json); i++) {
        struct json_object *entry = json_object_array_get_idx(value->json, i);
        const char *text = json_object_is_type(entry, json_type_string) ? json_object_get_string(entry) : "";
        const struct report_section *section = report_section_find(text);
        const char *field = arena_printf(request->arena, "sections[%zu]", i);
        if (!section || strlen(text) != (size_t)json_object_get_string_len(entry)) {
            return problem_field(&request->problem, field, "unknown",
                                 "must be summary, by_type, costs, top_users or daily");
        }
        for (size_t before = 0; before < i; before++) {
            if (seen[before] == section) {
                return problem_field(&request->problem, field, "duplicate", "was named before");
            }
        }
        seen[i] = section;
        array = arena_printf(request->arena, "%s%s%s", array, i ? "," : "", section->name);
    }
    if (value->present) {
        *ret_array = arena_printf(request->arena, "{%s}", array);
    }
    return ERR_OK;
}

static const char *check_range(const char *text, size_t length)
{
    static const char *const WORDS[] = {"yesterday", "last_week", "last_month", "this_month"};
    for (size_t i = 0; i < ARRAY_SIZE(WORDS); i++) {
        if (strcmp(text, WORDS[i]) == 0) {
            return NULL;
        }
    }
    size_t digits = strspn(text, "0123456789");
    bool fine = digits >= 1 && digits <= 3 && *text != '0' && length == digits + 1 && text[digits] == 'd' &&
                strtol(text, NULL, 10) <= PERIOD_DAYS_MAX;
    return fine ? NULL : "must be days, from 1d to 400d, or yesterday, last_week, last_month or this_month";
}

static const char *check_format(const char *text, size_t length)
{
    static const char *const FORMATS[] = {"json", "csv", "html", "pdf"};
    (void)length;
    for (size_t i = 0; i < ARRAY_SIZE(FORMATS); i++) {
        if (strcmp(text, FORMATS[i]) == 0) {
            return NULL;
        }
    }
    return "must be json, csv, html or pdf";
}

/* ---- making and changing one ---- */

enum { NAME, SECTIONS, RANGE, FORMAT, FIELDS };

enum err report_create(struct request *request, struct response *response)
{
    static const struct field TABLE[FIELDS] = {
        {"name", FIELD_STRING, FIELD_REQUIRED | FIELD_ONE_LINE, 1, REPORT_NAME_MAX, NULL},
        {"sections", FIELD_ARRAY, FIELD_REQUIRED, 1, REPORT_SECTIONS, NULL},
        {"range", FIELD_STRING, FIELD_REQUIRED, 1, RANGE_MAX, check_range},
        {"format", FIELD_STRING, FIELD_REQUIRED, 1, RANGE_MAX, check_format},
    };
    struct value values[FIELDS];
    uint8_t id[16];
    char id_text[UUID_TEXT_SIZE];
    const char *sections;
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO made = NULL;
    const struct audit_change created = {.statement = &CREATE,
                                         .params = &params,
                                         .before = item_one_by_one,
                                         .action = "report.created",
                                         .kind = REPORT_KIND,
                                         .detail_column = 1};
    enum err e = validate_body(request, TABLE, FIELDS, &body, values);
    e = e ? e : read_sections(request, &values[SECTIONS], &sections);
    if (e) {
        return e;
    }
    uuid_v7(id);
    uuid_format(id, id_text);
    pg_int(&params, request->principal.workspace_id);
    pg_text(&params, id_text);
    pg_text(&params, values[NAME].text);
    pg_text(&params, sections);
    pg_text(&params, values[RANGE].text);
    pg_text(&params, values[FORMAT].text);
    pg_int(&params, request->principal.user_id);
    e = audit_carry_out(request, &created, &made);
    if (!e && PQntuples(made) == 0) {
        return problem_say(&request->problem, ERR_CONFLICT,
                           "The workspace has a hundred reports, which is the most.");
    }
    if (!e) {
        JSON_AUTO item = keyset_json(made, 0, 2);
        response_json(response, 201, item);
    }
    return e;
}

enum err report_change(struct request *request, struct response *response)
{
    static const struct field TABLE[FIELDS] = {
        {"name", FIELD_STRING, FIELD_ONE_LINE, 1, REPORT_NAME_MAX, NULL},
        {"sections", FIELD_ARRAY, 0, 1, REPORT_SECTIONS, NULL},
        {"range", FIELD_STRING, 0, 1, RANGE_MAX, check_range},
        {"format", FIELD_STRING, 0, 1, RANGE_MAX, check_format},
    };
    struct value values[FIELDS];
    const char *sections;
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    const struct audit_change changed = {.statement = &CHANGE,
                                         .params = &params,
                                         .action = "report.changed",
                                         .kind = REPORT_KIND,
                                         .detail_column = 1};
    enum err e = validate_body(request, TABLE, FIELDS, &body, values);
    e = e ? e : item_params(request, REPORT_KIND, &params);
    e = e ? e : read_sections(request, &values[SECTIONS], &sections);
    if (e) {
        return e;
    }
    pg_text(&params, values[NAME].text);
    pg_text(&params, sections);
    pg_text(&params, values[RANGE].text);
    pg_text(&params, values[FORMAT].text);
    return item_change(request, response, &changed, 200);
}

static enum err before_delete(struct pg *pg, const struct pg_params *params)
{
    return pg_query(pg, &HOLD, params, NULL);
}

enum err report_delete(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    const struct audit_change change = {.statement = &DELETE,
                                        .params = &params,
                                        .before = before_delete,
                                        .action = "report.deleted",
                                        .kind = REPORT_KIND,
                                        .detail_column = 1};
    enum err e = item_params(request, REPORT_KIND, &params);
    return e ? e : item_change(request, response, &change, 204);
}
