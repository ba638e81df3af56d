/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/selection.h"

#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"

static int64_t tomorrow_us(void)
{
    int64_t now_us = clock_now_us();
    return now_us - now_us % USEC_PER_DAY + USEC_PER_DAY;
}

static int64_t end_of(const struct value *end)
{
    if (!end->present) {
        return tomorrow_us();
    }
    return end->length == VALIDATE_DATE_LENGTH ? end->integer + USEC_PER_DAY : end->integer;
}

static enum err read_span(struct problem *problem, const struct value values[SELECTION_COUNT],
                          struct selection *selection)
{
    const struct value *days = &values[SELECTION_DAYS], *start = &values[SELECTION_START],
                       *end = &values[SELECTION_END];
    if (!start->present && !end->present) {
        selection->end_us = tomorrow_us();
        selection->start_us =
            selection->end_us - (days->present ? days->integer : SELECTION_DEFAULT_DAYS) * USEC_PER_DAY;
        return ERR_OK;
    }
    if (days->present) {
        return problem_field(problem, "days", "conflict", "does not go together with start and end");
    }
    if (!start->present) {
        return problem_field(problem, "start", "required", "is required where end is given");
    }
    selection->start_us = start->integer;
    selection->end_us = end_of(end);
    if (selection->start_us < CLOCK_MIN_US || selection->end_us > CLOCK_MAX_US) {
        return problem_field(problem, selection->start_us < CLOCK_MIN_US ? "start" : "end", "out_of_range",
                             "must lie in the years 1 to 9999, in UTC");
    }
    if (selection->start_us >= selection->end_us) {
        return problem_field(problem, end->present ? "end" : "start", "out_of_range",
                             end->present ? "must lie after start" : "must not lie after today");
    }
    if (selection->end_us - selection->start_us > SELECTION_DAYS_MAX * USEC_PER_DAY) {
        return problem_field(problem, "start", "out_of_range", "must lie at most %d days before the end",
                             SELECTION_DAYS_MAX);
    }
    return ERR_OK;
}

/* The filters on the metadata in one text, so that any number of them is one parameter of a statement. */
static enum err read_members(struct request *request, struct selection *selection)
{
    static const char PREFIX[] = "metadata.";
    enum { PREFIX_LENGTH = sizeof(PREFIX) - 1, TEXT_MAX = 64 * 1024 }; /* more than five can fill */
    struct problem *problem = &request->problem;
    enum err e = ERR_OK;
    size_t count = 0;
    struct buf text;
    buf_init(&text, TEXT_MAX);
    for (size_t i = 0; i < request->query_count; i++) {
        const struct request_param *param = &request->query_params[i];
        if (strncmp(param->name, PREFIX, PREFIX_LENGTH) != 0) {
            continue;
        }
        const char *key = param->name + PREFIX_LENGTH;
        if (utf8_count(key, strlen(key)) > SELECTION_KEY_MAX) {
            e = problem_field(problem, "metadata", "too_long", "must name members with at most %d characters",
                              SELECTION_KEY_MAX);
        }
        buf_putc(&text, count++ ? ',' : '{');
        buf_put_json_string(&text, key, strlen(key));
        buf_putc(&text, ':');
        buf_put_json_string(&text, param->text, param->length);
    }
    if (count > SELECTION_MEMBERS_MAX) {
        e = problem_field(problem, "metadata", "too_long", "must be given for at most %d members",
                          SELECTION_MEMBERS_MAX);
    }
    if (!e && count) {
        buf_putc(&text, '}');
        selection->metadata = arena_strndup(request->arena, buf_text(&text), text.length);
    }
    buf_free(&text);
    return e;
}

enum err selection_read(struct request *request, const struct value values[SELECTION_COUNT],
                        struct selection *ret_selection)
{
    struct selection selection = {.type = values[SELECTION_TYPE].text};
    enum err span = read_span(&request->problem, values, &selection);
    enum err members = read_members(request, &selection);
    if (span || members) {
        return ERR_INVALID;
    }
    *ret_selection = selection;
    return ERR_OK;
}
