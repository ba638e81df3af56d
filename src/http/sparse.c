/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The paths become a tree of names, which is then laid over the answer in one walk: it drops the members
 * that have no node, and notes at each node whether there was an object to ask and whether one had
 * the name. A node that was asked for and never found is a name that the answer does not have.
 */
#include "http/sparse.h"

#include <stdbool.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"

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

static void lay_over(struct node *node, struct json_object *value, bool keep_all);

static void lay_over_object(struct node *node, struct json_object *object, bool keep_all)
{
    /* Deleting the member that the loop is at is allowed: it has read the next one already. */
    json_object_object_foreach(object, name, member)
    {
        struct node *child = *find_child(node, name, strlen(name));
        if (child) {
            child->found = true;
            lay_over(child, member, keep_all || child->is_end);
        } else if (!keep_all) {
            json_object_object_del(object, name);
        }
    }
}

static void lay_over(struct node *node, struct json_object *value, bool keep_all)
{
    if (!node->first || !value) {
        return; /* a null might have been an object: it cannot tell */
    }
    if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            lay_over(node, json_object_array_get_idx(value, i), keep_all);
        }
        return;
    }
    for (struct node *child = node->first; child; child = child->next) {
        child->asked = true;
    }
    if (json_object_is_type(value, json_type_object)) {
        lay_over_object(node, value, keep_all);
    }
}

static enum err note_unknown(struct problem *problem, const struct node *parent)
{
    enum err result = ERR_OK;
    for (const struct node *node = parent->first; node; node = node->next) {
        enum err e = node->asked && !node->found
                         ? problem_field(problem, "fields", "unknown_field", "the answer has no %.*s",
                                         (int)(node->name + node->length - node->path), node->path)
                         : note_unknown(problem, node);
        result = e ? e : result;
    }
    return result;
}

enum err sparse_apply(struct problem *problem, const char *fields_text, struct json_object *answer)
{
    struct node root = {.path = NULL};
    const char *wrong = sparse_check(fields_text, strlen(fields_text));
    if (wrong) {
        return problem_field(problem, "fields", "format", "%s", wrong);
    }
    add_paths(problem->arena, &root, fields_text);
    lay_over(&root, answer, false);
    return note_unknown(problem, &root);
}

enum err sparse_answer(struct request *request, struct response *response, const char *fields_text)
{
    JSON_AUTO answer = NULL;
    struct json_fault fault;
    if (!json_parse(buf_text(response->body), response->body->length, &answer, &fault)) {
        /* Events may nest as deep as a request may, and lie two levels deeper in a list of them. */
        return problem_field(&request->problem, "fields", "unsupported", "cannot be applied here: %s",
                             fault.reason);
    }
    enum err e = sparse_apply(&request->problem, fields_text, answer);
    if (!e) {
        response_json(response, response->status, answer);
    }
    return e;
}
