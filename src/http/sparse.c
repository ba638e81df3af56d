/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The paths become a tree of names, which is then laid over the answer's text in one walk: it copies the
 * members that have a node, and notes at each node whether there was an object to ask and whether one had the
 * name. A node that was asked for and never found is a name that the answer does not have.
 *
 * No tree of the answer is built: a list of events can have megabytes, and json-c takes a hundred times as
 * much for some texts. What is kept is copied as it stands, so numbers keep their digits.
 */
#include "http/sparse.h"

#include <stdbool.h>
#include <string.h>

#include "base/arena.h"

struct node {
    const char *path; /* in the text, where the first path with this name begins */
    const char *name; /* and where in it this name stands */
    size_t length;
    struct node *next;  /* sibling */
    struct node *first; /* child */
    bool is_end;        /* a path ends here: all below is kept */
    bool asked;         /* there was a value that could have had the name */
    bool found;
};

static size_t name_length(const char *text)
{
    return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
}

const char *sparse_check(const char *text, size_t length)
{
    static const char SHAPE[] = "must be names of 1 to 64 letters, digits and _, parted by dots and commas";
    size_t paths = 1, levels = 1;
    (void)length; /* it ends in NUL and holds no other */
    for (;;) {
        size_t n = name_length(text);
        if (n == 0 || n > SPARSE_NAME_MAX) {
            return SHAPE;
        }
        text += n;
        if (*text == '\0') {
            return NULL;
        }
        bool deeper = *text == '.';
        if (!deeper && *text != ',') {
            return SHAPE;
        }
        levels = deeper ? levels + 1 : 1;
        paths += !deeper;
        if (levels > SPARSE_LEVELS_MAX) {
            return "must not lead deeper than 4 names";
        }
        if (paths > SPARSE_PATHS_MAX) {
            return "must have at most 32 names";
        }
        text++;
    }
}

/* Where the child of this name hangs, or NULL does when there is none. */
static struct node **find_child(struct node *parent, const char *name, size_t length)
{
    struct node **at = &parent->first;
    while (*at && ((*at)->length != length || memcmp((*at)->name, name, length) != 0)) {
        at = &(*at)->next;
    }
    return at;
}

/* Add all paths of a text that was checked. */
static void add_paths(struct arena *arena, struct node *root, const char *text)
{
    struct node *node = root;
    const char *path = text;
    for (const char *at = text;; at++) {
        size_t length = name_length(at);
        struct node **child = find_child(node, at, length);
        if (!*child) {
            *child = arena_alloc(arena, sizeof(**child));
            **child = (struct node){.path = path, .name = at, .length = length};
        }
        node = *child;
        at += length;
        if (*at != '.') {
            node->is_end = true;
            node = root;
            path = at + 1;
        }
        if (*at == '\0') {
            return;
        }
    }
}

static bool lay_over(struct node *node, const struct json_span *value, bool keep_all, struct buf *out);

static bool lay_over_list(struct node *node, struct json_walk *walk, bool keep_all, struct buf *out)
{
    bool ok = true;
    buf_putc(out, '[');
    for (size_t i = 0; ok && json_walk_next(walk); i++) {
        buf_puts(out, i ? "," : "");
        ok = lay_over(node, &walk->value, keep_all, out);
    }
    buf_putc(out, ']');
    return ok && !walk->fault.reason;
}

static bool lay_over_object(struct node *node, struct json_walk *walk, bool keep_all, struct buf *out)
{
    bool ok = true, any = false;
    buf_putc(out, '{');
    while (ok && json_walk_next(walk)) {
        const struct json_span *name = &walk->name; /* between its quotes; names with escapes have no node */
        struct node *child = *find_child(node, name->text + 1, name->length - 2);
        if (!child && !keep_all) {
            continue;
        }
        buf_puts(out, any ? "," : "");
        buf_append(out, name->text, name->length);
        buf_putc(out, ':');
        any = true;
        if (child) {
            child->found = true;
            ok = lay_over(child, &walk->value, keep_all || child->is_end, out);
        } else {
            buf_append(out, walk->value.text, walk->value.length);
        }
    }
    buf_putc(out, '}');
    return ok && !walk->fault.reason;
}

/* False for what is no JSON. */
static bool lay_over(struct node *node, const struct json_span *value, bool keep_all, struct buf *out)
{
    struct json_walk walk;
    bool is_null = value->length == 4 &&
                   memcmp(value->text, "null", 4) == 0; /* might have been an object: it cannot tell */
    if (!node->first || is_null) {
        buf_append(out, value->text, value->length);
        return true;
    }
    json_walk_start(&walk, value->text, value->length);
    if (walk.kind == '[') {
        return lay_over_list(node, &walk, keep_all, out);
    }
    for (struct node *child = node->first; child; child = child->next) {
        child->asked = true;
    }
    if (walk.kind == '{') {
        return lay_over_object(node, &walk, keep_all, out);
    }
    buf_append(out, value->text, value->length);
    return true;
}

static bool is_metadata(const struct node *node)
{
    static const char NAME[] = "metadata";
    return node->name && node->length == sizeof(NAME) - 1 && memcmp(node->name, NAME, node->length) == 0;
}

/* Names below metadata are the clients' own: that no event of this page has one is no error. */
static enum err note_unknown(struct problem *problem, const struct node *parent)
{
    enum err result = ERR_OK;
    for (const struct node *node = is_metadata(parent) ? NULL : parent->first; node; node = node->next) {
        enum err e = node->asked && !node->found
                         ? problem_field(problem, "fields", "unknown_field", "the answer has no %.*s",
                                         (int)(node->name + node->length - node->path), node->path)
                         : note_unknown(problem, node);
        result = e ? e : result;
    }
    return result;
}

enum err sparse_apply(struct problem *problem, const char *fields_text, const struct json_span *answer,
                      struct buf *out)
{
    struct node root = {.path = NULL};
    const char *wrong = sparse_check(fields_text, strlen(fields_text));
    if (wrong) {
        return problem_field(problem, "fields", "format", "%s", wrong);
    }
    add_paths(problem->arena, &root, fields_text);
    return lay_over(&root, answer, false, out) ? note_unknown(problem, &root) : ERR_INTERNAL;
}

enum err sparse_answer(struct request *request, struct response *response, const char *fields_text)
{
    const struct buf *body = response->body;
    size_t length = body->length;
    while (length && buf_text(body)[length - 1] == '\n') {
        length--;
    }
    const struct json_span answer = {buf_text(body), length};
    struct buf kept;
    buf_init(&kept, RESPONSE_BODY_MAX);
    enum err e = sparse_apply(&request->problem, fields_text, &answer, &kept);
    buf_putc(&kept, '\n');
    if (!e) {
        response_text(response, response->status, "application/json", buf_text(&kept), kept.length);
    }
    buf_free(&kept);
    return e;
}
