/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/strength.h"

#include <ctype.h>
#include <string.h>
#include <zxcvbn.h>

#include "base/json.h"
#include "base/mem.h"
#include "http/validate.h"
#include "identity/password.h"

enum {
    SCORE_MAX = 4,
    WORDS_MAX = 24,
    WORD_MIN = 3, /* characters of a name that count */
    TOLD_MIN = 3, /* characters of a part that is worth telling */
    JUDGED_MAX =
        24, /* bytes: zxcvbn's work grows by more than the square, some 0.2 s at 72 of the worst kind */
    TELL_BELOW = 3 /* scores that are told why */
};

/* zxcvbn's own scale: fewer than 10^3, 10^6, 10^8 and 10^10 guesses; here in bits. */
static const double BITS_OF_SCORE[SCORE_MAX] = {9.97, 19.93, 26.58, 33.22};

/* What a kind of match says of a password, for programs and for people. */
static const struct reason {
    const char *code;
    const char *words;
} REASONS[] = {
    [DICTIONARY_MATCH] = {"common", "common passwords, words or names"},
    [DICT_LEET_MATCH] = {"common", "common passwords, words or names"},
    [USER_MATCH] = {"account", "parts of the account's address or name"},
    [USER_LEET_MATCH] = {"account", "parts of the account's address or name"},
    [REPEATS_MATCH] = {"repeats", "repeated characters"},
    [SEQUENCE_MATCH] = {"sequence", "sequences of characters"},
    [SPATIAL_MATCH] = {"keyboard", "keys that lie side by side"},
    [DATE_MATCH] = {"date", "dates"},
    [YEAR_MATCH] = {"date", "dates"},
    [LONG_PWD_MATCH] = {NULL, NULL},
};

struct judgement {
    int score;
    double bits;
    const struct reason *reasons[ARRAY_SIZE(REASONS)];
    size_t reasons_count;
};

/* One word in lower case, as zxcvbn wants them. */
static void add_word(struct arena *arena, const char *text, size_t length, const char *words[WORDS_MAX + 1],
                     size_t *count)
{
    if (length < WORD_MIN || *count == WORDS_MAX) {
        return;
    }
    char *word = arena_strndup(arena, text, length);
    for (char *c = word; *c; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    words[(*count)++] = word;
    words[*count] = NULL;
}

/* The whole of a text, what stands before an @, and its words. */
static void add_words(struct arena *arena, const char *text, const char *words[WORDS_MAX + 1], size_t *count)
{
    static const char BETWEEN[] = " .,;:_-+@'\"()/\\";
    if (!text) {
        return;
    }
    add_word(arena, text, strnlen(text, JUDGED_MAX), words, count);
    add_word(arena, text, strcspn(text, "@"), words, count);
    for (const char *at = text; *at;) {
        size_t length = strcspn(at, BETWEEN);
        add_word(arena, at, length, words, count);
        at += length;
        at += strspn(at, BETWEEN);
    }
}

static void note_reason(struct judgement *judgement, const struct reason *reason)
{
    for (size_t i = 0; i < judgement->reasons_count; i++) {
        if (strcmp(judgement->reasons[i]->code, reason->code) == 0) {
            return;
        }
    }
    judgement->reasons[judgement->reasons_count++] = reason;
}

static void judge(struct arena *arena, const char *password, const struct strength_account *account,
                  struct judgement *ret_judgement)
{
    const char *words[WORDS_MAX + 1] = {NULL};
    size_t count = 0;
    ZxcMatch_t *matches = NULL;
    *ret_judgement = (struct judgement){.score = 0};
    add_words(arena, account->email, words, &count);
    add_words(arena, account->username, words, &count);
    add_words(arena, account->full_name, words, &count);
    ret_judgement->bits =
        ZxcvbnMatch(arena_strndup(arena, password, strnlen(password, JUDGED_MAX)), words, &matches);
    while (ret_judgement->score < SCORE_MAX && ret_judgement->bits >= BITS_OF_SCORE[ret_judgement->score]) {
        ret_judgement->score++;
    }
    for (const ZxcMatch_t *match = matches; match && ret_judgement->score < TELL_BELOW; match = match->Next) {
        unsigned type = (unsigned)match->Type & ~(unsigned)MULTIPLE_MATCH;
        if ((unsigned)match->Type & MULTIPLE_MATCH) {
            note_reason(ret_judgement, &REASONS[REPEATS_MATCH]);
        }
        if (match->Length >= TOLD_MIN && type < ARRAY_SIZE(REASONS) && REASONS[type].code) {
            note_reason(ret_judgement, &REASONS[type]);
        }
    }
    ZxcvbnFreeInfo(matches);
}

/* The reasons in words, joined. */
static const char *explain(struct arena *arena, const struct judgement *judgement)
{
    const char *text = "";
    for (size_t i = 0; i < judgement->reasons_count; i++) {
        text = arena_printf(arena, "%s%s%s", text, i ? " and " : ": it has ", judgement->reasons[i]->words);
    }
    return text;
}

enum err strength_check(struct request *request, const char *field, const char *password,
                        const struct strength_account *account)
{
    struct judgement judgement;
    judge(request->arena, password, account, &judgement);
    if (judgement.score >= request->services->config->password_min_score) {
        return ERR_OK;
    }
    return problem_field(&request->problem, field, "too_weak", "is too easy to guess%s",
                         explain(request->arena, &judgement));
}

enum err strength_show(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {
        {"password", FIELD_STRING, FIELD_REQUIRED, 1, 1024, NULL},
        {"email", FIELD_STRING, FIELD_NULLABLE, 1, 254, NULL},
        {"username", FIELD_STRING, FIELD_NULLABLE, 1, 64, NULL},
        {"full_name", FIELD_STRING, FIELD_NULLABLE, 1, 200, NULL},
    };
    enum { PASSWORD, EMAIL, USERNAME, FULL_NAME, COUNT };
    struct value values[COUNT];
    struct judgement judgement;
    JSON_AUTO body = NULL;
    enum err e = validate_body(request, FIELDS, COUNT, &body, values);
    if (e) {
        return e;
    }
    const struct strength_account account = {values[EMAIL].text, values[USERNAME].text,
                                             values[FULL_NAME].text};
    const struct value *password = &values[PASSWORD];
    bool fits = password->length >= PASSWORD_MIN_BYTES && password->length <= PASSWORD_MAX_BYTES;
    judge(request->arena, password->text, &account, &judgement);
    bool accepted = fits && judgement.score >= request->services->config->password_min_score;
    JSON_AUTO answer = json_object_new_object();
    struct json_object *reasons = json_object_new_array();
    json_add_int(answer, "score", judgement.score);
    json_add(answer, "bits", json_number(arena_printf(request->arena, "%.1f", judgement.bits)));
    json_add(answer, "accepted", json_object_new_boolean(accepted));
    if (!fits) {
        json_object_array_add(reasons, json_object_new_string("length"));
    }
    for (size_t i = 0; i < judgement.reasons_count; i++) {
        json_object_array_add(reasons, json_object_new_string(judgement.reasons[i]->code));
    }
    json_add(answer, "reasons", reasons);
    response_json(response, 200, answer);
    return ERR_OK;
}
