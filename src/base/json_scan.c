/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the bytes with a stack of container kinds, one bit a level, so the depth is bounded
 * without recursion. It keeps no copy and allocates nothing but the notes. tests/unit/test_json.c walks
 * it and json-c over the cases of RFC 8259's grammar; tests/fuzz holds the two against each other.
 *
 * A walk scans element by element with the same code, for the grammar alone: an element that is JSON
 * but more than we keep (too deep, too many values, a lone surrogate) is no fault of the list around it.
 * Whoever parses the element meets it.
 */
#include "base/json_scan.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

/* Levels in an element of a walk. No element that deep is short enough to be parsed. */
enum { WALK_DEPTH_MAX = 32 * 1024 };

struct scanner {
    const char *start;
    const char *at;
    const char *end;
    const char *reason;
    const char *name_end;     /* behind the quotes of the name that was read last */
    bool nul_escape;          /* the string that was read last holds \u0000 */
    struct json_notes *notes; /* NULL: let through what is JSON but past our limits */
    size_t weight;
    bool too_large;
};

static bool fail(struct scanner *s, const char *reason)
{
    s->reason = reason;
    return false;
}

static int peek(const struct scanner *s)
{
    return s->at < s->end ? (unsigned char)*s->at : -1;
}

static void skip_space(struct scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) {
        s->at++;
    }
}

static bool scan_word(struct scanner *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0) {
        return fail(s, "expected a value");
    }
    s->at += n;
    return true;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool scan_digits(struct scanner *s)
{
    if (!is_digit(peek(s))) {
        return fail(s, "a digit is missing in a number");
    }
    while (is_digit(peek(s))) {
        s->at++;
    }
    return true;
}

/* Whether json-c can hold an integer of this text. */
static bool fits_64_bits(const char *text, size_t length)
{
    enum { SURE = 18, IMPOSSIBLE = 21 };
    char copy[IMPOSSIBLE];
    if (length <= SURE || length >= IMPOSSIBLE) {
        return length <= SURE;
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    errno = 0;
    if (copy[0] == '-') {
        (void)strtoll(copy, NULL, 10);
    } else {
        (void)strtoull(copy, NULL, 10);
    }
    return errno != ERANGE;
}

static void note_wide(struct scanner *s)
{
    struct json_notes *notes = s->notes;
    if ((notes->wide_count & (notes->wide_count - 1)) == 0) { /* full at each power of two */
        size_t capacity = notes->wide_count ? 2 * notes->wide_count : 1;
        notes->wide = mem_resize(notes->wide, capacity * sizeof(*notes->wide));
    }
    notes->wide[notes->wide_count++] = (size_t)(s->at - s->start);
}

static bool scan_number(struct scanner *s)
{
    const char *start = s->at;
    bool is_real = false;
    if (peek(s) == '-') {
        s->at++;
    }
    if (peek(s) == '0') {
        s->at++;
        if (is_digit(peek(s))) {
            return fail(s, "a number starts with a zero");
        }
    } else if (!scan_digits(s)) {
        return false;
    }
    if (peek(s) == '.') {
        is_real = true;
        s->at++;
        if (!scan_digits(s)) {
            return false;
        }
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        is_real = true;
        s->at++;
        if (peek(s) == '+' || peek(s) == '-') {
            s->at++;
        }
        if (!scan_digits(s)) {
            return false;
        }
    }
    if (!is_real && s->notes && !fits_64_bits(start, (size_t)(s->at - start))) {
        note_wide(s);
    }
    return true;
}

/* Four hex digits after `\u`; -1 when they are not there. */
static int scan_hex4(struct scanner *s)
{
    int value = 0;
    if (s->end - s->at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        char c = *s->at++;
        int digit = is_digit(c)                              ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                             : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static bool scan_escape(struct scanner *s)
{
    s->at++; /* the backslash */
    int c = peek(s);
    if (c < 0 || c == 0 || !strchr("\"\\/bfnrtu", c)) {
        return fail(s, "an escape in a string is not one of JSON's");
    }
    s->at++;
    if (c != 'u') {
        return true;
    }
    int unit = scan_hex4(s);
    if (unit < 0) {
        return fail(s, "\\u needs four hex digits");
    }
    if (unit < 0xd800 || unit > 0xdfff) {
        s->nul_escape |= unit == 0;
        return true;
    }
    const char *behind = s->at;
    if (unit < 0xdc00 && s->end - s->at >= 6 && s->at[0] == '\\' && s->at[1] == 'u') {
        s->at += 2;
        int low = scan_hex4(s);
        if (low >= 0xdc00 && low <= 0xdfff) {
            return true;
        }
        s->at = behind;
    }
    return !s->notes || fail(s, "a surrogate stands alone");
}

static bool scan_string(struct scanner *s)
{
    s->at++; /* the quote */
    s->nul_escape = false;
    while (s->at < s->end) {
        unsigned char c = (unsigned char)*s->at;
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c == '\\') {
            if (!scan_escape(s)) {
                return false;
            }
        } else if (c < 0x20) {
            return fail(s, "a control character stands unescaped in a string");
        } else if (c < 0x80) {
            s->at++;
        } else {
            size_t n = utf8_sequence(s->at, (size_t)(s->end - s->at));
            if (n == 0) {
                return fail(s, "the text is not valid UTF-8");
            }
            s->at += n;
        }
    }
    return fail(s, "a string is not closed");
}

static bool weigh(struct scanner *s, size_t weight)
{
    s->weight += weight;
    s->too_large = s->notes && s->weight > JSON_WEIGHT_MAX;
    return !s->too_large || fail(s, "there are too many values");
}

static bool scan_scalar(struct scanner *s)
{
    if (!weigh(s, 1)) {
        return false;
    }
    switch (peek(s)) {
    case '"':
        return scan_string(s);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    case -1:
        return fail(s, "the text ends too early");
    default:
        if (peek(s) == '-' || is_digit(peek(s))) {
            return scan_number(s);
        }
        return fail(s, "expected a value");
    }
}

static bool scan_name(struct scanner *s)
{
    skip_space(s);
    if (!weigh(s, 1)) {
        return false;
    }
    if (peek(s) != '"') {
        return fail(s, "expected a name in double quotes");
    }
    if (!scan_string(s)) {
        return false;
    }
    s->name_end = s->at;
    if (s->notes) {
        s->notes->nul_in_name |= s->nul_escape;
    }
    skip_space(s);
    if (peek(s) != ':') {
        return fail(s, "expected a colon after a name");
    }
    s->at++;
    return true;
}

static int closing(int open)
{
    return open == '{' ? '}' : ']';
}

static bool scan_comma(struct scanner *s)
{
    int c = peek(s);
    if (c != ',') {
        return fail(s, c < 0 ? "the text ends too early" : "expected a comma or the end of a list or object");
    }
    s->at++;
    return true;
}

/* The containers that are open, one bit each: set for an object. */
struct nesting {
    size_t depth;
    uint8_t objects[WALK_DEPTH_MAX / 8];
};

static void nest(struct nesting *nesting, int open)
{
    size_t level = nesting->depth++;
    uint8_t *byte = &nesting->objects[level / 8];
    unsigned others = level % 8 ? *byte & ~(1U << (level % 8)) : 0;
    *byte = (uint8_t)(others | (unsigned)(open == '{') << (level % 8));
}

static int innermost(const struct nesting *nesting)
{
    size_t last = nesting->depth - 1;
    return (nesting->objects[last / 8] >> (last % 8)) & 1 ? '{' : '[';
}

/* One value with everything in it. Each turn of the loop reads the start of a value; the inner one
 * closes containers until one goes on. */
static bool scan_value(struct scanner *s)
{
    struct nesting nesting;
    size_t depth_max = s->notes ? JSON_DEPTH_MAX : WALK_DEPTH_MAX;

    nesting.depth = 0; /* nest() sets the bits as it needs them */
    for (;;) {
        skip_space(s);
        int c = peek(s);
        if (c == '{' || c == '[') {
            if (nesting.depth == depth_max) {
                return fail(s, "the nesting is too deep");
            }
            if (!weigh(s, c == '{' ? 8 : 4)) {
                return false;
            }
            nest(&nesting, c);
            s->at++;
            skip_space(s);
            if (peek(s) != closing(c)) {
                if (c == '{' && !scan_name(s)) {
                    return false;
                }
                continue;
            }
        } else if (!scan_scalar(s)) {
            return false;
        }
        for (;;) {
            if (nesting.depth == 0) {
                return true;
            }
            int open = innermost(&nesting);
            skip_space(s);
            if (peek(s) == closing(open)) {
                s->at++;
                nesting.depth--;
                continue;
            }
            if (!scan_comma(s)) {
                return false;
            }
            if (open == '{' && !scan_name(s)) {
                return false;
            }
            break;
        }
    }
}

static bool scan_end(struct scanner *s)
{
    skip_space(s);
    return s->at == s->end || fail(s, "something follows the value");
}

static struct json_fault fault_of(const struct scanner *s)
{
    return (struct json_fault){
        .offset = (size_t)(s->at - s->start), .reason = s->reason, .too_large = s->too_large};
}

bool json_scan_noting(const char *text, size_t length, struct json_notes *ret_notes,
                      struct json_fault *ret_fault)
{
    *ret_notes = (struct json_notes){0};
    struct scanner s = {.start = text, .at = text, .end = text + length, .notes = ret_notes};
    bool ok = scan_value(&s) && scan_end(&s);
    if (!ok) {
        *ret_fault = fault_of(&s);
        json_notes_free(ret_notes);
    }
    return ok;
}

bool json_scan(const char *text, size_t length, struct json_fault *ret_fault)
{
    struct json_notes notes;
    bool ok = json_scan_noting(text, length, &notes, ret_fault);
    json_notes_free(&notes);
    return ok;
}

void json_notes_free(struct json_notes *notes)
{
    free(notes->wide);
    notes->wide = NULL;
}

void json_walk_start(struct json_walk *walk, const char *text, size_t length)
{
    struct scanner s = {.at = text, .end = text + length};
    skip_space(&s);
    int c = peek(&s);
    *walk = (struct json_walk){
        .start = text, .at = s.at, .end = s.end, .kind = c == '[' || c == '{' ? (char)c : '\0'};
}

/* Step over what parts two elements. False at the end, and when something else stands there. */
static bool walk_on(struct scanner *s, const struct json_walk *walk)
{
    bool first = !walk->value.text;
    if (!walk->kind) {
        (void)scan_value(s);
        return false;
    }
    if (first) {
        s->at++; /* the bracket */
    }
    skip_space(s);
    if (peek(s) == closing(walk->kind)) {
        s->at++;
        return false;
    }
    return first || scan_comma(s);
}

static bool walk_element(struct scanner *s, struct json_walk *walk)
{
    skip_space(s);
    if (walk->kind == '{') {
        walk->name.text = s->at;
        if (!scan_name(s)) {
            return false;
        }
        walk->name.length = (size_t)(s->name_end - walk->name.text);
        skip_space(s);
    }
    walk->value.text = s->at;
    bool ok = scan_value(s);
    walk->value.length = (size_t)(s->at - walk->value.text);
    return ok;
}

bool json_walk_next(struct json_walk *walk)
{
    struct scanner s = {.start = walk->start, .at = walk->at, .end = walk->end};
    if (walk->done) {
        return false;
    }
    walk->done = !walk_on(&s, walk) || !walk_element(&s, walk);
    if (walk->done && !s.reason) {
        (void)scan_end(&s);
    }
    if (s.reason) {
        walk->fault = fault_of(&s);
    }
    walk->at = s.at;
    return !walk->done;
}
