/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/listing.h"

#include "analytics/place.h"
#include "analytics/selection.h"
#include "http/sparse.h"
#include "queries.h"

static const struct pg_statement ALL = {"listing", sql_listing};
static const struct pg_statement OF_USER = {"listing_user", sql_listing_user};

enum {
    DEFAULT_LIMIT = 100,
    LIMIT_MAX = 1000,
    LOOKED_AT_MAX = 20000, /* events of a page's index range: some 20 milliseconds */
    /* A number that was sent in five characters can be one of 300 digits in what PostgreSQL makes of the
     * metadata, so a page may be much longer than its events were. Past this it ends early. */
    BODY_MAX = 8 * 1024 * 1024,
};

struct page {
    struct buf *body;
    int64_t limit;
    int64_t shown;
    bool more;         /* there may be events after `last` */
    struct place last; /* of the events that were looked at and are not to be looked at again */
};

static bool take_row(void *argument, const PGresult *row)
{
    struct page *page = argument;
    const char *item = pg_get_text(row, 0, 0);
    if (page->shown == page->limit) {
        page->more = true; /* the statement returns one more to tell this */
        return true;
    }
    if (item) {
        buf_puts(page->body, page->shown++ ? "," : "");
        buf_puts(page->body, item);
    }
    place_set(&page->last, pg_get_int(row, 0, 1), pg_get_text(row, 0, 2));
    bool full = page->body->length > BODY_MAX;
    page->more = full || pg_get_bool(row, 0, 3);
    return !full;
}

static enum err read_page(struct request *request, const struct selection *selection, const char *user_id,
                          const struct place *after, struct page *page)
{
    struct pg_params params = {0};
    struct place start, end;
    place_set(&start, selection->start_us, "");
    /* As near as it can be, so that no partition after a cursor is looked into. */
    place_set(&end, after->us < selection->end_us ? after->us + 1 : selection->end_us, "");
    pg_int(&params, request->principal.workspace_id);
    pg_text(&params, start.time);
    pg_text(&params, end.time);
    place_params(after, &params);
    pg_text(&params, selection->type);
    pg_text(&params, selection->metadata);
    pg_int(&params, LOOKED_AT_MAX);
    pg_int(&params, page->limit + 1);
    if (user_id) {
        pg_text(&params, user_id);
    }
    return pg_each(request->services->pg, user_id ? &OF_USER : &ALL, &params, take_row, page);
}

static void put_end(const struct page *page, const struct selection *selection)
{
    char start[CLOCK_TEXT_SIZE], end[CLOCK_TEXT_SIZE];
    clock_format(selection->start_us, start);
    clock_format(selection->end_us, end);
    buf_puts(page->body, "],\"next_cursor\":");
    if (page->more) {
        buf_putc(page->body, '"');
        place_put_cursor(&page->last, page->body);
        buf_putc(page->body, '"');
    } else {
        buf_puts(page->body, "null");
    }
    buf_printf(page->body, ",\"period_start\":\"%s\",\"period_end\":\"%s\"}\n", start, end);
}

/* clang-format off */
#define PAGE_FIELDS                                          \
    SPARSE_FIELD,                                            \
    {"limit", FIELD_INTEGER, 0, 1, LIMIT_MAX, NULL},         \
    {"cursor", FIELD_STRING, 0, 1, PLACE_CURSOR_MAX, NULL}
/* clang-format on */
enum { FIELDS = SELECTION_COUNT, LIMIT, CURSOR, PAGE_COUNT };

static enum err list(struct request *request, struct response *response, const struct selection *selection,
                     const char *user_id, const struct value values[PAGE_COUNT])
{
    const struct value *limit = &values[LIMIT], *cursor = &values[CURSOR];
    struct page page = {.body = response->body, .limit = limit->present ? limit->integer : DEFAULT_LIMIT};
    struct place after;
    place_set(&after, selection->end_us, "");
    if (cursor->present &&
        (!place_from_cursor(cursor->text, cursor->length, &after) || after.us >= selection->end_us)) {
        return problem_field(&request->problem, "cursor", "format",
                             "is not a cursor that this list gave out for this period");
    }
    buf_puts(page.body, "{\"items\":[");
    /* A walk through the last N days that goes on past midnight may end before the start. */
    enum err e =
        after.us < selection->start_us ? ERR_OK : read_page(request, selection, user_id, &after, &page);
    if (e) {
        return e;
    }
    put_end(&page, selection);
    response->status = 200;
    response->content_type = "application/json";
    return values[FIELDS].present ? sparse_answer(request, response, values[FIELDS].text) : ERR_OK;
}

enum err listing_of_all(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {
        SELECTION_FIELDS, PAGE_FIELDS, {"user_id", FIELD_STRING, 0, 1, EVENT_USER_MAX, NULL}};
    enum { USER = PAGE_COUNT, COUNT };
    struct value values[COUNT];
    struct selection selection;
    enum err e = validate_query(request, QUERY, COUNT, values);
    e = e ? e : selection_read(request, values, &selection);
    return e ? e : list(request, response, &selection, values[USER].text, values);
}

enum err listing_of_user(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {SELECTION_FIELDS, PAGE_FIELDS};
    const char *user_id = request_param(request, "user_id");
    struct value values[PAGE_COUNT];
    struct selection selection;
    enum err e = validate_query(request, QUERY, PAGE_COUNT, values);
    e = e ? e : selection_read(request, values, &selection);
    return e ? e : list(request, response, &selection, user_id, values);
}
