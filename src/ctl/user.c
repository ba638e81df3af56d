/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl user …: what the API's /users does, and what people do with their own account. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "ctl/call.h"
#include "ctl/options.h"
#include "ctl/print.h"
#include "ctl/secret.h"
#include "identity/account.h"
#include "identity/session.h"
#include "identity/user.h"

enum { ID_SIZE = 24 };

/* The account that an argument means, by address or id. */
static int find(struct ctl *ctl, const char *who, int64_t *ret_user_id)
{
    enum err e = user_find(ctl->pg, who, ret_user_id);
    if (e == ERR_NOT_FOUND) {
        fprintf(stderr, "tallygatectl: there is no account %s\n", who);
        return CTL_NOT_FOUND;
    }
    return e ? ctl_database_failed("user") : CTL_OK;
}

/* A call about the account `who`; its answer is printed, or `done` and the argument when there is none. */
static int about(struct ctl *ctl, const char *who, struct ctl_call *call, bool oneself, const char *done)
{
    char id[ID_SIZE];
    int64_t user_id;
    JSON_AUTO answer = NULL;
    int code = find(ctl, who, &user_id);
    if (code) {
        return code;
    }
    snprintf(id, sizeof(id), "%" PRId64, user_id);
    call->id = id;
    call->user_id = oneself ? user_id : 0;
    code = ctl_call(ctl, call, &answer);
    if (code) {
        return code;
    }
    if (done && !ctl->json) {
        printf("%s %s\n", who, done);
    } else if (answer) {
        ctl_print(ctl, answer, "there are none");
    } else {
        puts("{}");
    }
    return CTL_OK;
}

static int change(struct ctl *ctl, const char *who, const char *member, struct json_object *value,
                  const char *done)
{
    JSON_AUTO body = json_object_new_object();
    json_add(body, member, value);
    struct ctl_call call = {.handler = user_change, .body = body};
    return about(ctl, who, &call, false, done);
}

/* ---- the subcommands; argv[0] is the word, the options and arguments follow ---- */

static int list(struct ctl *ctl, int argc, char **argv)
{
    enum { INACTIVE, ROLE, SEARCH, COUNT };
    static const struct option OPTIONS[] = {{"inactive", no_argument, NULL, INACTIVE},
                                            {"role", required_argument, NULL, ROLE},
                                            {"search", required_argument, NULL, SEARCH},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int code, first = ctl_read_options(argc, argv, OPTIONS, texts);
    if (first != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("user");
    }
    struct buf query;
    JSON_AUTO all = NULL;
    buf_init(&query, 4096);
    ctl_query_add(&query, "search", texts[SEARCH]);
    ctl_query_add(&query, "role", texts[ROLE]);
    ctl_query_add(&query, "is_active", texts[INACTIVE] ? "false" : NULL);
    const struct ctl_call call = {.handler = user_list, .query = buf_text(&query)};
    code = ctl_call_list(ctl, &call, &all);
    buf_free(&query);
    if (!code) {
        ctl_print(ctl, all, "there are none");
    }
    return code;
}

static int show(struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = user_show};
    return argc == 2 ? about(ctl, argv[1], &call, true, NULL) : ctl_usage("user");
}

/* An account and its role are one transaction, or an administrator could be left half made. */
struct adding {
    struct ctl *ctl;
    struct json_object *body;
    bool admin;
    struct json_object *made; /* as it is in the end */
    int code;
};

static enum err add_account(struct pg *pg, void *argument)
{
    struct adding *adding = argument;
    const struct ctl_call call = {.handler = account_add, .body = adding->body};
    (void)pg;
    adding->code = ctl_call(adding->ctl, &call, &adding->made);
    if (!adding->code && adding->admin) {
        JSON_AUTO role = json_object_new_object();
        JSON_AUTO account = adding->made;
        adding->made = NULL;
        json_add_string(role, "role", "admin");
        const struct ctl_call promote = {.handler = user_change,
                                         .id = json_object_get_string(json_object_object_get(account, "id")),
                                         .body = role};
        adding->code = ctl_call(adding->ctl, &promote, &adding->made);
    }
    return adding->code ? ERR_CONFLICT : ERR_OK; /* whatever it was, it was told: roll back */
}

int ctl_user_add(struct ctl *ctl, const char *email, const char *full_name, bool admin)
{
    char password[CTL_SECRET_MAX], error[CONFIG_ERROR_SIZE];
    JSON_AUTO body = json_object_new_object();
    if (!config_load_secret(ctl->config, error)) { /* the mail that proves the address is sealed with it */
        fprintf(stderr, "tallygatectl: %s\n", error);
        return CTL_FAILED;
    }
    if (!ctl_read_secret("Password", password)) {
        return CTL_FAILED;
    }
    json_add_string(body, "email", email);
    json_add_string(body, "password", password);
    crypto_wipe(password, sizeof(password));
    if (full_name) {
        json_add_string(body, "full_name", full_name);
    }
    struct adding adding = {.ctl = ctl, .body = body, .admin = admin};
    enum err e = pg_transaction(ctl->pg, add_account, &adding);
    if (e && !adding.code) {
        adding.code = ctl_database_failed("user add");
    }
    if (!adding.code) {
        ctl_print(ctl, adding.made, NULL);
    }
    json_object_put(adding.made);
    return adding.code;
}

static int add(struct ctl *ctl, int argc, char **argv)
{
    enum { ADMIN, FULL_NAME, COUNT };
    static const struct option OPTIONS[] = {{"admin", no_argument, NULL, ADMIN},
                                            {"full-name", required_argument, NULL, FULL_NAME},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    if (first + 1 != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("user");
    }
    return ctl_user_add(ctl, argv[first], texts[FULL_NAME], texts[ADMIN]);
}

static int role(struct ctl *ctl, int argc, char **argv)
{
    bool known = argc == 3 && (strcmp(argv[2], "user") == 0 || strcmp(argv[2], "admin") == 0);
    if (!known) {
        return ctl_usage("user");
    }
    return change(ctl, argv[1], "role", json_object_new_string(argv[2]),
                  strcmp(argv[2], "admin") == 0 ? "is now admin" : "is now user");
}

static int disable(struct ctl *ctl, int argc, char **argv)
{
    return argc == 2 ? change(ctl, argv[1], "is_active", json_object_new_boolean(false), "is switched off")
                     : ctl_usage("user");
}

static int enable(struct ctl *ctl, int argc, char **argv)
{
    return argc == 2 ? change(ctl, argv[1], "is_active", json_object_new_boolean(true), "is switched on")
                     : ctl_usage("user");
}

static int passwd(struct ctl *ctl, int argc, char **argv)
{
    char password[CTL_SECRET_MAX];
    JSON_AUTO body = json_object_new_object();
    struct ctl_call call = {.handler = account_update, .body = body};
    if (argc != 2) {
        return ctl_usage("user");
    }
    if (!ctl_read_secret("New password", password)) {
        return CTL_FAILED;
    }
    ctl->config->profile_requires_password = 0; /* that is the owner's, who may have lost it */
    json_add_string(body, "password", password);
    crypto_wipe(password, sizeof(password));
    return about(ctl, argv[1], &call, true, "has a new password, and no session any more");
}

static int delete (struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = account_delete};
    return argc == 2 ? about(ctl, argv[1], &call, false, "is deleted") : ctl_usage("user");
}

static int sessions(struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = session_list};
    return argc == 2 ? about(ctl, argv[1], &call, true, NULL) : ctl_usage("user");
}

static int logout(struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = session_logout, .query = "scope=global"};
    return argc == 2 ? about(ctl, argv[1], &call, true, "has no session any more") : ctl_usage("user");
}

int ctl_user(struct ctl *ctl, int argc, char **argv)
{
    static const struct ctl_word WORDS[] = {
        {"add", add},       {"delete", delete}, {"disable", disable}, {"enable", enable},     {"list", list},
        {"logout", logout}, {"passwd", passwd}, {"role", role},       {"sessions", sessions}, {"show", show}};
    return ctl_run_word(ctl, WORDS, ARRAY_SIZE(WORDS), argc, argv);
}
