/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/series.h"

#include <string.h>

#include "analytics/answer.h"
#include "analytics/event.h"
#include "analytics/period.h"
#include "base/clock.h"
#include "base/json.h"
#include "http/sparse.h"
#include "http/validate.h"
#include "queries.h"

enum { DEFAULT_DAYS = 30, HOURS_DAYS_MAX = 31, TYPES_DEFAULT = 50, TYPES_MAX = 100, ZONE_MAX = 64 };

static const struct pg_statement ZONE = {"series_zone", sql_series_zone};
static const struct pg_statement TIMES = {"series_times", sql_series_times};
static const struct pg_statement HOURS = {"series_hours", sql_series_hours};
static const struct pg_statement DAYS = {"series_days", sql_series_days};

struct series {
    struct period period;
    const char *interval;
    const char *zone;
    const char *type; /* NULL: all */
    int64_t types;    /* how many of their own; the rest are one */
};

static const char *check_interval(const char *text, size_t length)
{
    (void)length;
    bool known = strcmp(text, "hour") == 0 || strcmp(text, "day") == 0 || strcmp(text, "week") == 0 ||
                 strcmp(text, "month") == 0;
    return known ? NULL : "must be hour, day, week or month";
}

/* The form of a name in the time zone database. PostgreSQL would also take abbreviations and rules. */
static const char *check_zone(const char *text, size_t length)
{
    static const char SIGNS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/";
    bool ok = strcmp(text, "UTC") == 0 ||
              (strspn(text, SIGNS) == length && strchr(text, '/') && *text >= 'A' && *text <= 'Z');
    return ok ? NULL : "must be UTC or a name of the time zone database, as in Europe/Berlin";
}

/* Whether PostgreSQL knows the zone, and whether its hours are ours throughout the period. */
static enum err read_zone(struct request *request, const struct series *series)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_text(&params, series->zone);
    period_params(&series->period, &params);
    enum err e = pg_query(request->services->pg, &ZONE, &params, &result);
    if (e == ERR_INVALID) {
        return problem_field(&request->problem, "timezone", "unknown",
                             "is not a time zone that is known here");
    }
    if (!e && !pg_get_bool(result, 0, 0)) {
        return problem_field(
            &request->problem, "timezone", "unsupported",
            "has an offset that is no whole number of hours, and events are counted by hours of UTC");
    }
    return e;
}

static struct json_object *zeros(size_t count)
{
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < count; i++) {
        json_object_array_add(list, json_object_new_int(0));
    }
    return list;
}

static struct json_object *start_series(const PGresult *result, int row, size_t points)
{
    struct json_object *series = json_object_new_object();
    json_add_string(series, "type", pg_get_text(result, row, 1)); /* NULL: all further ones */
    json_add_number(series, "total_events", pg_get_text(result, row, 2));
    json_add_number(series, "total_value", pg_get_text(result, row, 3));
    json_add(series, "events", zeros(points));
    json_add(series, "values", zeros(points));
    return series;
}

/* Rows are {rank, type, its events, its value, time, events, value} by rank and time; `times` has all
 * times in order. */
static struct json_object *fill(const PGresult *result, const PGresult *times)
{
    struct json_object *list = json_object_new_array();
    struct json_object *series = NULL, *events = NULL, *values = NULL;
    size_t points = (size_t)PQntuples(times), point = 0;
    int64_t rank = -1;
    for (int row = 0; row < PQntuples(result); row++) {
        if (pg_get_int(result, row, 0) != rank) {
            rank = pg_get_int(result, row, 0);
            series = start_series(result, row, points);
            events = json_object_object_get(series, "events");
            values = json_object_object_get(series, "values");
            json_object_array_add(list, series);
            point = 0;
        }
        int64_t at_us = pg_get_int(result, row, 4);
        while (point < points && pg_get_int(times, (int)point, 0) < at_us) {
            point++;
        }
        if (point < points) {
            json_object_array_put_idx(events, point, json_number(pg_get_text(result, row, 5)));
            json_object_array_put_idx(values, point, json_number(pg_get_text(result, row, 6)));
        }
    }
    return list;
}

static struct json_object *times_json(const PGresult *times)
{
    struct json_object *list = json_object_new_array();
    for (int row = 0; row < PQntuples(times); row++) {
        char text[CLOCK_TEXT_SIZE];
        clock_format(pg_get_int(times, row, 0), text);
        json_object_array_add(list, json_object_new_string(text));
    }
    return list;
}

static enum err build(struct request *request, void *argument, struct json_object **ret_answer)
{
    const struct series *series = argument;
    struct pg_params axis = {0}, params = {0};
    PG_RESULT_AUTO times = NULL;
    PG_RESULT_AUTO rows = NULL;
    bool from_days = strcmp(series->zone, "UTC") == 0 && strcmp(series->interval, "hour") != 0;

    enum err e = read_zone(request, series);
    if (e) {
        return e;
    }
    period_params(&series->period, &axis);
    pg_text(&axis, series->interval);
    pg_text(&axis, series->zone);
    e = pg_query(request->services->pg, &TIMES, &axis, &times);
    if (e) {
        return e;
    }
    pg_int(&params, request->principal.workspace_id);
    period_params(&series->period, &params);
    pg_text(&params, series->interval);
    pg_text(&params, series->type);
    pg_int(&params, series->types);
    if (!from_days) {
        pg_text(&params, series->zone);
    }
    e = pg_query(request->services->pg, from_days ? &DAYS : &HOURS, &params, &rows);
    if (e) {
        return e;
    }
    struct json_object *answer = json_object_new_object();
    json_add_string(answer, "interval", series->interval);
    json_add_string(answer, "timezone", series->zone);
    json_add_string(answer, "start", series->period.start_date);
    json_add_int(answer, "days", series->period.days);
    json_add(answer, "times", times_json(times));
    json_add(answer, "series", fill(rows, times));
    *ret_answer = answer;
    return ERR_OK;
}

enum err series_by_type(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {
        PERIOD_FIELDS,
        SPARSE_FIELD,
        {"interval", FIELD_STRING, 0, 1, 16, check_interval},
        {"timezone", FIELD_STRING, 0, 1, ZONE_MAX, check_zone},
        {"type", FIELD_STRING, 0, 1, 1000, event_check_type},
        {"limit", FIELD_INTEGER, 0, 1, TYPES_MAX, NULL},
    };
    enum { FIELDS = PERIOD_FIELDS_COUNT, INTERVAL, TIMEZONE, TYPE, LIMIT, COUNT };
    struct value values[COUNT];
    struct series series = {0};

    enum err e = validate_query(request, QUERY, COUNT, values);
    e = e ? e : period_read(&request->problem, values, DEFAULT_DAYS, &series.period);
    if (e) {
        return e;
    }
    series.interval = values[INTERVAL].present ? values[INTERVAL].text : "day";
    series.zone = values[TIMEZONE].present ? values[TIMEZONE].text : "UTC";
    series.type = values[TYPE].text;
    series.types = values[LIMIT].present ? values[LIMIT].integer : TYPES_DEFAULT;
    if (strcmp(series.interval, "hour") == 0 && series.period.days > HOURS_DAYS_MAX) {
        return problem_field(&request->problem, "interval", "too_fine",
                             "hour takes a period of at most %d days", HOURS_DAYS_MAX);
    }
    struct answer_key key;
    answer_key_init(&key, request, "by_type");
    answer_key_period(&key, &series.period);
    answer_key_text(&key, "interval", series.interval);
    answer_key_text(&key, "timezone", series.zone);
    answer_key_text(&key, "type", series.type);
    answer_key_int(&key, "limit", series.types);
    /* The day of another zone may end half a day after that of UTC. */
    struct answer_question question = {
        .key = &key,
        .finished = period_is_over(&series.period) && strcmp(series.zone, "UTC") == 0,
        .build = build,
        .argument = &series,
        .fields = values[FIELDS].text,
    };
    return answer_cached(request, response, &question);
}
