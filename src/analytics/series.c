/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/series.h"

#include <string.h>
#include <strings.h>

#include "analytics/answer.h"
#include "analytics/event.h"
#include "analytics/period.h"
#include "analytics/rows.h"
#include "base/json.h"
#include "http/sparse.h"
#include "http/validate.h"
#include "queries.h"

enum { DEFAULT_DAYS = 30, HOURS_DAYS_MAX = 31, TYPES_DEFAULT = 50, TYPES_MAX = 100, ZONE_MAX = 64 };

static const struct pg_statement TODAY = {"series_today",
                                          "SELECT " PG_US("(now() AT TIME ZONE $1)::date::timestamp")};
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

/* Etc/GMT and what may stand behind it: 0, or up to 12 hours west (+) or 14 east (-). */
static bool is_fixed_zone(const char *text)
{
    static const char PREFIX[] = "Etc/GMT";
    if (strncmp(text, PREFIX, sizeof(PREFIX) - 1) != 0) {
        return false;
    }
    text += sizeof(PREFIX) - 1;
    if (*text == '\0' || strcmp(text, "0") == 0) {
        return true;
    }
    bool one = text[1] >= '0' && text[1] <= '9' && text[2] == '\0';
    bool two = text[1] == '1' && text[2] >= '0' && text[2] <= (*text == '+' ? '2' : '4') && text[3] == '\0';
    return (*text == '+' || *text == '-') && (one || two);
}

/* The form of a name in the time zone database. PostgreSQL would also take abbreviations, and rules: to it
 * Nowhere/Land3 is a place three hours west. Without a digit nothing is a rule. Zones that count leap seconds
 * (right/…) have other hours than ours, and posix/… are the usual ones again; PostgreSQL finds both in any
 * case. */
static const char *check_zone(const char *text, size_t length)
{
    static const char SIGNS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-/";
    bool is_place = strspn(text, SIGNS) == length && strchr(text, '/') && *text >= 'A' && *text <= 'Z' &&
                    strncasecmp(text, "right/", 6) != 0 && strncasecmp(text, "posix/", 6) != 0;
    return is_place || is_fixed_zone(text) || strcmp(text, "UTC") == 0
               ? NULL
               : "must be UTC or a name of the time zone database, as in Europe/Berlin";
}

static enum err note_unknown_zone(struct request *request)
{
    return problem_field(&request->problem, "timezone", "unknown", "is not a time zone that is known here");
}

/* The date there. Which questions have the same answer depends on it, so it is asked each time. */
static enum err find_today(struct request *request, const char *zone, int64_t *ret_us)
{
    if (strcmp(zone, "UTC") == 0) {
        *ret_us = period_today_us();
        return ERR_OK;
    }
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_text(&params, zone);
    enum err e = pg_query(request->services->pg, &TODAY, &params, &result);
    if (!e) {
        *ret_us = pg_get_int(result, 0, 0);
    }
    return e == ERR_INVALID ? note_unknown_zone(request) : e;
}

/* Whether PostgreSQL knows the zone, and whether its hours are ours throughout the period. The row tells
 * where in UTC the period begins and ends. */
static enum err read_zone(struct request *request, const struct series *series, PGresult **ret_bounds)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_text(&params, series->zone);
    period_params(&series->period, &params);
    enum err e = pg_query(request->services->pg, &ZONE, &params, &result);
    if (e == ERR_INVALID) {
        return note_unknown_zone(request);
    }
    if (!e && !pg_get_bool(result, 0, 0)) {
        return problem_field(
            &request->problem, "timezone", "unsupported",
            "has an offset that is no whole number of hours, and events are counted by hours of UTC");
    }
    if (!e) {
        *ret_bounds = result;
        result = NULL;
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

/* Rows are {rank, type, its events, its value, key, events, value} by rank and key; `times` has all
 * keys in order, and the time of each. */
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
        int64_t key = pg_get_int(result, row, 4);
        while (point < points && pg_get_int(times, (int)point, 0) < key) {
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
        json_object_array_add(list, rows_value(times, row, 1, ROW_TIME));
    }
    return list;
}

static enum err ask_times(struct request *request, const struct series *series, const PGresult *bounds,
                          PGresult **ret_times)
{
    struct pg_params params = {0};
    period_params(&series->period, &params);
    pg_text(&params, series->interval);
    pg_text(&params, series->zone);
    pg_text(&params, pg_get_text(bounds, 0, 1));
    pg_text(&params, pg_get_text(bounds, 0, 2));
    return pg_query(request->services->pg, &TIMES, &params, ret_times);
}

static enum err ask_points(struct request *request, const struct series *series, const PGresult *bounds,
                           PGresult **ret_points)
{
    bool from_days = strcmp(series->zone, "UTC") == 0 && strcmp(series->interval, "hour") != 0;
    struct pg_params params = {0};
    pg_int(&params, request->principal.workspace_id);
    if (from_days) {
        period_params(&series->period, &params);
    } else {
        pg_text(&params, pg_get_text(bounds, 0, 1));
        pg_text(&params, pg_get_text(bounds, 0, 2));
    }
    pg_text(&params, series->interval);
    pg_text(&params, series->type);
    pg_int(&params, series->types);
    if (!from_days) {
        pg_text(&params, series->zone);
    }
    return pg_query(request->services->pg, from_days ? &DAYS : &HOURS, &params, ret_points);
}

static enum err build(struct request *request, void *argument, struct json_object **ret_answer)
{
    const struct series *series = argument;
    PG_RESULT_AUTO bounds = NULL;
    PG_RESULT_AUTO times = NULL;
    PG_RESULT_AUTO points = NULL;
    enum err e = read_zone(request, series, &bounds);
    e = e ? e : ask_times(request, series, bounds, &times);
    e = e ? e : ask_points(request, series, bounds, &points);
    if (e) {
        return e;
    }
    struct json_object *answer = json_object_new_object();
    json_add_string(answer, "interval", series->interval);
    json_add_string(answer, "timezone", series->zone);
    json_add_string(answer, "start", series->period.start_date);
    json_add_int(answer, "days", series->period.days);
    json_add(answer, "times", times_json(times));
    json_add(answer, "series", fill(points, times));
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
    int64_t today_us = 0;

    enum err e = validate_query(request, QUERY, COUNT, values);
    series.zone = !e && values[TIMEZONE].present ? values[TIMEZONE].text : "UTC";
    e = e ? e : find_today(request, series.zone, &today_us);
    e = e ? e : period_read_on(&request->problem, values, DEFAULT_DAYS, today_us, &series.period);
    if (e) {
        return e;
    }
    series.interval = values[INTERVAL].present ? values[INTERVAL].text : "day";
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
