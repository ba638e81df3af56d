/* SPDX-License-Identifier: Apache-2.0 */
#include "report/report_content.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "queries.h"

/* A tenant's own size decides how long it takes; others wait for the thread. jobs_statement_timeout_s counts
 * as well where it is less. */
static const struct pg_statement LIMIT = {
    "report_limit",
    "SELECT set_config('statement_timeout', (SELECT least(60000, nullif(setting::bigint, 0)) FROM pg_settings "
    "WHERE name = 'statement_timeout')::text, true)"};
static const struct pg_statement SUMMARY = {"report_summary", sql_report_summary};
static const struct pg_statement BY_TYPE = {"report_types", sql_summary_by_type};
static const struct pg_statement COSTS = {
    "report_costs", "SELECT day::text, trim_scale(sum(total)), sum(events) FROM rollup_day "
                    "WHERE workspace_id = $1 AND day >= $2::date AND day < $2::date + $3::int "
                    "AND type = 'cost' GROUP BY day ORDER BY day"};
static const struct pg_statement TOP_USERS = {
    "report_users",
    "SELECT user_id, sum(events), trim_scale(coalesce(sum(total) FILTER (WHERE type = 'cost'), 0)) "
    "FROM rollup_user_day WHERE workspace_id = $1 AND day >= $2::date AND day < $2::date + $3::int "
    "GROUP BY user_id ORDER BY 2 DESC, 1 LIMIT 25"};
static const struct pg_statement DAILY = {"report_days", sql_report_daily};

/* clang-format off */
static const struct report_section SECTIONS[REPORT_SECTIONS] = {
    {"summary", "Summary", &SUMMARY, REPORT_PLAIN,
     {{"measure", ROW_TEXT}, {"value", ROW_NUMBER}, {"previous", ROW_NUMBER}, {"change_percent", ROW_NUMBER}},
     {"Measure", "This period", "Period before", "Change in %"}, 4},
    {"by_type", "Events by type", &BY_TYPE, REPORT_BARS,
     {{"type", ROW_TEXT}, {"events", ROW_NUMBER}, {"value", ROW_NUMBER}, {"minimum", ROW_NUMBER},
      {"maximum", ROW_NUMBER}, {"previous_events", ROW_NUMBER}, {"previous_value", ROW_NUMBER}},
     {"Type", "Events", "Value", "Smallest", "Largest", "Prev. events", "Prev. value"}, 7},
    {"costs", "Costs by day", &COSTS, REPORT_COLUMNS,
     {{"day", ROW_TEXT}, {"cost", ROW_NUMBER}, {"events", ROW_NUMBER}},
     {"Day", "Cost", "Events"}, 3},
    {"top_users", "Busiest users", &TOP_USERS, REPORT_BARS,
     {{"user_id", ROW_TEXT}, {"events", ROW_NUMBER}, {"cost", ROW_NUMBER}},
     {"User", "Events", "Cost"}, 3},
    {"daily", "Day by day", &DAILY, REPORT_COLUMNS,
     {{"day", ROW_TEXT}, {"events", ROW_NUMBER}, {"active_users", ROW_NUMBER}, {"value", ROW_NUMBER}, {"cost", ROW_NUMBER}},
     {"Day", "Events", "Active users", "Value", "Cost"}, 5},
};
/* clang-format on */

const struct report_section *report_section_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(SECTIONS); i++) {
        if (strcmp(SECTIONS[i].name, name) == 0) {
            return &SECTIONS[i];
        }
    }
    return NULL;
}

struct reading {
    int64_t workspace_id;
    int64_t days;
    struct report_content *content;
};

static enum err read_tables(struct pg *pg, void *argument)
{
    const struct reading *reading = argument;
    struct report_content *content = reading->content;
    enum err e = pg_query(pg, &LIMIT, NULL, NULL);
    for (size_t i = 0; !e && i < content->tables_count; i++) {
        struct pg_params params = {0};
        pg_int(&params, reading->workspace_id);
        pg_text(&params, content->first_day);
        pg_int(&params, reading->days);
        e = pg_query(pg, content->tables[i].section->statement, &params, &content->tables[i].rows);
    }
    return e;
}

enum err report_content_read(struct pg *pg, int64_t workspace_id, int64_t days,
                             struct report_content *content)
{
    struct reading reading = {workspace_id, days, content};
    return pg_snapshot(pg, read_tables, &reading);
}

void report_content_free(struct report_content *content)
{
    for (size_t i = 0; i < content->tables_count; i++) {
        pg_result_cleanup(&content->tables[i].rows);
    }
}

double report_value(const struct report_table *table, int row)
{
    const char *text = pg_get_text(table->rows, row, 1);
    return text ? strtod(text, NULL) : 0;
}

double report_largest(const struct report_table *table)
{
    double most = 0;
    for (int row = 0; row < PQntuples(table->rows); row++) {
        double value = report_value(table, row);
        most = value > most ? value : most;
    }
    return most;
}

const char *report_number(const char *decimal, char ret_text[REPORT_NUMBER_SIZE])
{
    if (!decimal) {
        return "\u2013";
    }
    size_t length = strlen(decimal), sign = *decimal == '-', out = 0;
    size_t digits = strspn(decimal + sign, "0123456789");
    if (length + digits / 3 + 1 > REPORT_NUMBER_SIZE) {
        return decimal;
    }
    for (size_t i = 0; i < length; i++) {
        size_t left = i >= sign && i < sign + digits ? sign + digits - i : 0;
        if (left && left < digits && left % 3 == 0) {
            ret_text[out++] = ',';
        }
        ret_text[out++] = decimal[i];
    }
    ret_text[out] = '\0';
    return ret_text;
}
