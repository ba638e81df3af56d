/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forms that a report comes in. Each is made whole in memory, in a buffer whose maximum the caller set;
 * what does not fit leaves its `overflow` set. Texts are anybody's: each form takes away what could mean
 * something to whoever opens it (markup, formulas of spreadsheets, control characters).
 */
#ifndef TALLYGATE_REPORT_REPORT_WRITE_H
#define TALLYGATE_REPORT_REPORT_WRITE_H

#include "base/buf.h"
#include "report/report_content.h"

/* {name, workspace, first_day, last_day, made_at, sections: {NAME: [{…}, …], …}} */
void report_write_json(const struct report_content *content, struct buf *out);
/* One table for all sections: section, group, measure, value (RFC 4180). */
void report_write_csv(const struct report_content *content, struct buf *out);
/* A page that needs nothing besides itself. */
void report_write_html(const struct report_content *content, struct buf *out);
/* Pages of A4. False when cairo fails, which is when memory ends. */
bool report_write_pdf(const struct report_content *content, struct buf *out);
/* Give back what the libraries keep for the next one, so that a leak of ours shows: at the end of a process
 * that looks for leaks, when nobody draws any more. */
void report_write_end(void);

#endif
