/* SPDX-License-Identifier: Apache-2.0 */
/* Texts held against RFC 8259; see json.h for what is refused beyond its grammar, and why. */
#ifndef TALLYGATE_BASE_JSON_SCAN_H
#define TALLYGATE_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

enum {
    JSON_DEPTH_MAX = 32,
    /* json-c takes some 100 bytes for a scalar and 800 for an object, however few bytes of text they
     * have. Scalars and names weigh 1, lists 4, objects 8: at most some 50 MB come of one text. */
    JSON_WEIGHT_MAX = 500000,
};

struct json_fault {
    size_t offset;      /* bytes from the start */
    const char *reason; /* a static phrase, as in "a string is not closed" */
    bool too_large;     /* it is JSON so far, but weighs too much */
};

/* Check `text` against RFC 8259 and the limits above. False fills *ret_fault. */
bool json_scan(const char *text, size_t length, struct json_fault *ret_fault);

/* What json-c would not keep as it stands. */
struct json_notes {
    bool nul_in_name; /* a name holds U+0000 */
    size_t *wide;     /* where integers past 64 bits end, from the start; or NULL */
    size_t wide_count;
};
/* The same, with notes, which the caller frees. */
bool json_scan_noting(const char *text, size_t length, struct json_notes *ret_notes,
                      struct json_fault *ret_fault);
void json_notes_free(struct json_notes *notes);

/* A piece of a longer text. */
struct json_span {
    const char *text;
    size_t length;
};

/* Over the elements of a list or the members of an object, without a tree. It holds the whole against the
 * grammar; the limits above are for whoever parses an element, so that one which is past them spoils no
 * other. (Only nesting past 32,768 is a fault of the whole.) What is neither list nor object has no elements.
 */
struct json_walk {
    char kind;               /* '[', '{', or NUL for anything else */
    struct json_span name;   /* of a member, with its quotes and escapes */
    struct json_span value;  /* of a member or element */
    struct json_fault fault; /* why the walk ended; without a reason, the text did */
    const char *start;       /* from here on it is the walk's own */
    const char *at;
    const char *end;
    bool done;
};
void json_walk_start(struct json_walk *walk, const char *text, size_t length);
/* Step to the first or next one; false at the end or at a fault. */
bool json_walk_next(struct json_walk *walk);

#endif
