/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a report shows: sections, each a table with a heading, whose rows one statement finds in the rollups.
 * All forms that a report comes in are made from these tables (report_write.h).
 */
#ifndef TALLYGATE_REPORT_REPORT_CONTENT_H
#define TALLYGATE_REPORT_REPORT_CONTENT_H

#include "analytics/rows.h"
#include "store/pg.h"

enum { REPORT_SECTIONS = 5, REPORT_COLUMNS_MAX = 7 };

/* Whether a section has a drawing besides its table, of the numbers in its second column. */
enum report_chart { REPORT_PLAIN, REPORT_COLUMNS, REPORT_BARS };

struct report_section {
    const char *name;
    const char *heading;
    const struct pg_statement *statement; /* $1 workspace, $2 first day, $3 number of days */
    enum report_chart chart;
    struct row_column columns[REPORT_COLUMNS_MAX];
    const char *labels[REPORT_COLUMNS_MAX];
    size_t columns_count;
};

/* One that was asked for. */
struct report_table {
    const struct report_section *section;
    PGresult *rows;
};

struct report_content {
    const char *name;      /* of the report; any UTF-8 */
    const char *workspace; /* its name; any UTF-8 */
    const char *first_day; /* YYYY-MM-DD */
    const char *last_day;
    const char *made_at; /* RFC 3339 */
    struct report_table tables[REPORT_SECTIONS];
    size_t tables_count;
};

/* NULL when there is no section of this name. */
const struct report_section *report_section_find(const char *name);
/* Find the rows of the sections that `tables` names, all at one moment; each has a minute at the most, then
 * the SQLSTATE is 57014. ERR_UNAVAILABLE, or ERR_INTERNAL. */
enum err report_content_read(struct pg *pg, int64_t workspace_id, int64_t days,
                             struct report_content *content);
/* Free the rows. */
void report_content_free(struct report_content *content);

/* What is drawn of a row: the number in its second column; and the largest of all rows, 0 when none is above
 * that. */
double report_value(const struct report_table *table, int row);
double report_largest(const struct report_table *table);

/* A decimal with its thousands grouped, as in 1,234,567.5, into `ret_text` where it has room, else as it is.
 * NULL reads as a dash. */
enum { REPORT_NUMBER_SIZE = 64 };
const char *report_number(const char *decimal, char ret_text[REPORT_NUMBER_SIZE]);

#endif
