/* SPDX-License-Identifier: Apache-2.0 */
/* Reports as JSON, CSV and HTML. */
#include <string.h>

#include "base/json.h"
#include "report/report_write.h"

/* ---- JSON ---- */

void report_write_json(const struct report_content *content, struct buf *out)
{
    JSON_AUTO report = json_object_new_object();
    struct json_object *sections = json_object_new_object();
    size_t length;
    json_add_string(report, "name", content->name);
    json_add_string(report, "workspace", content->workspace);
    json_add_string(report, "first_day", content->first_day);
    json_add_string(report, "last_day", content->last_day);
    json_add_string(report, "made_at", content->made_at);
    json_add(report, "sections", sections);
    for (size_t i = 0; i < content->tables_count; i++) {
        const struct report_table *table = &content->tables[i];
        json_add(sections, table->section->name,
                 rows_json(table->rows, table->section->columns, table->section->columns_count,
                           PQntuples(table->rows)));
    }
    const char *text = json_text(report, &length);
    buf_append(out, text, length);
    buf_putc(out, '\n');
}

/* ---- CSV ---- */

/* A spreadsheet takes a cell that begins with one of these for a formula, some also in their full width:
 * with an apostrophe before it, it stays a text (as in queries/export_csv.sql). */
static bool is_formula(const char *text)
{
    static const char *const SIGNS[] = {"=",      "+",      "-",      "@",      "'",      "\t",
                                        "\r",     "\n",     "\uff1d", "\uff0b", "\uff0d", "\uff20",
                                        "\ufe62", "\ufe63", "\ufe66", "\ufe6b"};
    for (size_t i = 0; i < sizeof(SIGNS) / sizeof(*SIGNS); i++) {
        if (strncmp(text, SIGNS[i], strlen(SIGNS[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void put_cell(struct buf *out, const char *text, bool number)
{
    if (number) {
        buf_puts(out, text);
        return;
    }
    buf_putc(out, '"');
    if (is_formula(text)) {
        buf_putc(out, '\'');
    }
    for (; *text; text++) {
        if (*text == '"') {
            buf_putc(out, '"');
        }
        buf_putc(out, *text);
    }
    buf_putc(out, '"');
}

void report_write_csv(const struct report_content *content, struct buf *out)
{
    buf_puts(out, "section,group,measure,value\r\n");
    for (size_t i = 0; i < content->tables_count; i++) {
        const struct report_section *section = content->tables[i].section;
        const PGresult *rows = content->tables[i].rows;
        for (int row = 0; row < PQntuples(rows); row++) {
            for (size_t column = 1; column < section->columns_count; column++) {
                const char *value = pg_get_text(rows, row, (int)column);
                buf_printf(out, "%s,", section->name);
                put_cell(out, pg_get_text(rows, row, 0), false);
                buf_printf(out, ",%s,", section->columns[column].name);
                put_cell(out, value ? value : "", true);
                buf_puts(out, "\r\n");
            }
        }
    }
}

/* ---- HTML ---- */

static void put_text(struct buf *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            buf_puts(out, "&amp;");
            break;
        case '<':
            buf_puts(out, "&lt;");
            break;
        case '>':
            buf_puts(out, "&gt;");
            break;
        case '"':
            buf_puts(out, "&quot;");
            break;
        case '\'':
            buf_puts(out, "&#39;");
            break;
        default: /* control characters are not allowed in HTML */
            buf_putc(out, ((unsigned char)*text < 0x20 && *text != '\n') || *text == 0x7f ? '?' : *text);
        }
    }
}

/* A drawing of columns, one for each row. Bars of other sections stand in their tables. */
static void put_columns(struct buf *out, const struct report_table *table)
{
    enum { WIDTH = 720, HEIGHT = 140 };
    int rows = PQntuples(table->rows);
    double most = report_largest(table);
    if (rows == 0 || most <= 0) {
        return;
    }
    double step = (double)WIDTH / rows;
    buf_printf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s: %s\">\n", WIDTH, HEIGHT,
               table->section->heading, table->section->labels[1]);
    for (int row = 0; row < rows; row++) {
        double height = report_value(table, row) / most * HEIGHT;
        if (height > 0) {
            buf_printf(out, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"><title>", row * step,
                       HEIGHT - height, step * 0.8, height);
            put_text(out, pg_get_text(table->rows, row, 0));
            buf_printf(out, ": %s</title></rect>\n", pg_get_text(table->rows, row, 1));
        }
    }
    buf_puts(out, "</svg>\n");
}

static void put_table(struct buf *out, const struct report_table *table)
{
    char number[REPORT_NUMBER_SIZE];
    const struct report_section *section = table->section;
    double most = section->chart == REPORT_BARS ? report_largest(table) : 0;
    if (PQntuples(table->rows) == 0) {
        buf_puts(out, "<p>There was nothing in this period.</p>\n");
        return;
    }
    buf_puts(out, "<table>\n<thead><tr>");
    for (size_t column = 0; column < section->columns_count; column++) {
        buf_printf(out, "<th scope=\"col\">%s</th>", section->labels[column]);
    }
    buf_puts(out, "</tr></thead>\n<tbody>\n");
    for (int row = 0; row < PQntuples(table->rows); row++) {
        buf_puts(out, "<tr><th scope=\"row\">");
        put_text(out, pg_get_text(table->rows, row, 0));
        buf_puts(out, "</th>");
        for (size_t column = 1; column < section->columns_count; column++) {
            double value = column == 1 && most > 0 ? report_value(table, row) : 0;
            buf_puts(out, "<td>");
            if (value > 0) {
                buf_printf(out, "<i style=\"width:%.1f%%\"></i>", value / most * 100);
            }
            buf_printf(out, "%s</td>", report_number(pg_get_text(table->rows, row, (int)column), number));
        }
        buf_puts(out, "</tr>\n");
    }
    buf_puts(out, "</tbody>\n</table>\n");
}

void report_write_html(const struct report_content *content, struct buf *out)
{
    static const char STYLE[] =
        "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430;"
        "background:#fff}"
        "h1{margin-bottom:0}header p{margin:0;color:#5a6472}h2{margin-top:2.5rem}"
        "table{border-collapse:collapse;width:100%}th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px "
        "solid #e3e7ec}"
        "th:first-child{text-align:left;font-weight:400;overflow-wrap:anywhere}thead th{font-weight:600!important}"
        "td{position:relative;font-variant-numeric:tabular-nums}td "
        "i{position:absolute;left:0;bottom:0;height:3px;background:#3b6fb6}"
        "svg{width:100%;height:auto;fill:#3b6fb6;border-bottom:1px solid #8a94a3}";
    buf_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                  "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
    put_text(out, content->name);
    buf_printf(out, "</title>\n<style>%s</style>\n</head>\n<body>\n<header><h1>", STYLE);
    put_text(out, content->name);
    buf_puts(out, "</h1>\n<p>");
    put_text(out, content->workspace);
    buf_printf(out, " · %s to %s, in UTC · made at %s</p></header>\n<main>\n", content->first_day,
               content->last_day, content->made_at);
    for (size_t i = 0; i < content->tables_count; i++) {
        buf_printf(out, "<section>\n<h2>%s</h2>\n", content->tables[i].section->heading);
        if (content->tables[i].section->chart == REPORT_COLUMNS) {
            put_columns(out, &content->tables[i]);
        }
        put_table(out, &content->tables[i]);
        buf_puts(out, "</section>\n");
    }
    buf_puts(out, "</main>\n</body>\n</html>\n");
}
