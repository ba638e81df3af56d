/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The validator is a digest of the body, so it needs no state and is the same on all hosts. It is
 * weak, because the web server may compress the answer and thereby change its bytes.
 *
 * The work of making the answer is done all the same; what is saved is the way to the client. That is the
 * right order: the client's copy is compared with what is true now.
 */
#include "http/etag.h"

#include <stdio.h>
#include <string.h>

#include "base/crypto.h"

enum { DIGEST_BYTES = 16, ETAG_SIZE = 32 };

static void make_etag(const struct buf *body, char ret_etag[ETAG_SIZE])
{
    uint8_t digest[CRYPTO_SHA256_SIZE];
    char text[ETAG_SIZE - sizeof("W/\"\"")];
    crypto_sha256(buf_text(body), body->length, digest);
    crypto_base64url(digest, DIGEST_BYTES, text);
    snprintf(ret_etag, ETAG_SIZE, "W/\"%s\"", text);
}

/* The part that a weak comparison looks at: without W/, with the quotes. */
static const char *opaque_part(const char *tag)
{
    return strncmp(tag, "W/", 2) == 0 ? tag + 2 : tag;
}

bool etag_matches(const char *if_none_match, const char *etag)
{
    static const char BLANKS[] = " \t";
    const char *opaque = opaque_part(etag);
    size_t length = strlen(opaque);
    const char *at = if_none_match + strspn(if_none_match, BLANKS);
    if (*at == '*') {
        return at[1 + strspn(at + 1, BLANKS)] == '\0';
    }
    for (;;) {
        at = opaque_part(at + strspn(at, " \t,")); /* empty elements are ignored (section 5.6.1.2) */
        const char *close = *at == '"' ? strchr(at + 1, '"') : NULL;
        if (!close) {
            return false;
        }
        if ((size_t)(close + 1 - at) == length && memcmp(at, opaque, length) == 0) {
            return true;
        }
        at = close + 1 + strspn(close + 1, BLANKS);
        if (*at != ',') {
            return false;
        }
    }
}

void etag_apply(const struct request *request, struct response *response)
{
    char etag[ETAG_SIZE];
    const char *if_none_match = request_variable(request, "HTTP_IF_NONE_MATCH");
    make_etag(response->body, etag);
    bool is_known = if_none_match && etag_matches(if_none_match, etag);
    if (is_known) {
        response_empty(response, 304);
    }
    response_header(response, "ETag", etag);
    response_header(response, "Cache-Control", "private, no-cache");
    /* The web server adds its Accept-Encoding to what it could compress alone, but a 304 must
     * have the Vary of its 200 (section 15.4.5). */
    response_header(response, "Vary", is_known ? "Authorization, Accept-Encoding" : "Authorization");
}
