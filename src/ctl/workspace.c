/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl workspace …: as its owner would, and for all of them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "ctl/call.h"
#include "ctl/options.h"
#include "ctl/print.h"
#include "identity/account.h"
#include "identity/member.h"
#include "identity/user.h"
#include "identity/workspace.h"

/* Pieces small enough to hold no lock for long. */
enum { PIECE_ROWS = 5000 };

/* A call in the workspace that an argument names; its answer is printed, or `done` when there is none. */
static int in(struct ctl *ctl, const char *workspace, struct ctl_call *call, const char *done)
{
    JSON_AUTO answer = NULL;
    int code = ctl_call_enter(ctl, call, workspace);
    code = code ? code : ctl_call(ctl, call, &answer);
    if (code) {
        return code;
    }
    if (answer) {
        ctl_print(ctl, answer, "there are none");
    } else {
        puts(ctl->json ? "{}" : done);
    }
    return CTL_OK;
}

static int add(struct ctl *ctl, int argc, char **argv)
{
    enum { SLUG, COUNT };
    static const struct option OPTIONS[] = {{"slug", required_argument, NULL, SLUG}, {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    JSON_AUTO body = json_object_new_object();
    JSON_AUTO answer = NULL;
    struct ctl_call call = {.handler = workspace_create, .body = body};
    if (first + 2 != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("workspace");
    }
    enum err e = user_find(ctl->pg, argv[first], &call.user_id);
    if (e) {
        fprintf(stderr, "tallygatectl: there is no account %s\n", argv[first]);
        return e == ERR_NOT_FOUND ? CTL_NOT_FOUND : ctl_database_failed("workspace add");
    }
    json_add_string(body, "name", argv[first + 1]);
    if (texts[SLUG]) {
        json_add_string(body, "slug", texts[SLUG]);
    }
    int code = ctl_call(ctl, &call, &answer);
    if (!code) {
        ctl_print(ctl, answer, NULL);
    }
    return code;
}

static int list(struct ctl *ctl, int argc, char **argv)
{
    JSON_AUTO all = NULL;
    const struct ctl_call call = {.handler = workspace_list_all};
    (void)argv;
    int code = argc == 1 ? ctl_call_list(ctl, &call, &all) : ctl_usage("workspace");
    if (!code) {
        ctl_print(ctl, all, "there are none");
    }
    return code;
}

static int members(struct ctl *ctl, int argc, char **argv)
{
    JSON_AUTO all = NULL;
    struct ctl_call call = {.handler = member_list};
    int code = argc == 2 ? ctl_call_enter(ctl, &call, argv[1]) : ctl_usage("workspace");
    code = code ? code : ctl_call_list(ctl, &call, &all);
    if (!code) {
        ctl_print(ctl, all, "there are none");
    }
    return code;
}

static int show(struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = workspace_show};
    return argc == 2 ? in(ctl, argv[1], &call, NULL) : ctl_usage("workspace");
}

static int rename_it(struct ctl *ctl, int argc, char **argv)
{
    enum { SLUG, COUNT };
    static const struct option OPTIONS[] = {{"slug", required_argument, NULL, SLUG}, {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    JSON_AUTO body = json_object_new_object();
    struct ctl_call call = {.handler = workspace_change, .body = body};
    if (first < 0 || first + 2 != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("workspace");
    }
    json_add_string(body, "name", argv[first + 1]);
    if (texts[SLUG]) {
        json_add_string(body, "slug", *texts[SLUG] ? texts[SLUG] : NULL);
    }
    return in(ctl, argv[first], &call, NULL);
}

static int delete (struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = workspace_delete};
    return argc == 2 ? in(ctl, argv[1], &call, "it is closed; its events go with the next purge")
                     : ctl_usage("workspace");
}

static int purge(struct ctl *ctl, int argc, char **argv)
{
    int64_t total = 0, erased;
    (void)argv;
    if (argc != 1) {
        return ctl_usage("workspace");
    }
    do {
        if (account_purge_closed(ctl->pg, PIECE_ROWS, &erased) != ERR_OK) {
            return ctl_database_failed("workspace purge");
        }
        total += erased;
    } while (erased > 0);
    if (ctl->json) {
        printf("{\"erased\":%" PRId64 "}\n", total);
    } else {
        printf("erased %" PRId64 " rows\n", total);
    }
    return CTL_OK;
}

int ctl_workspace(struct ctl *ctl, int argc, char **argv)
{
    static const struct ctl_word WORDS[] = {{"add", add},         {"delete", delete}, {"list", list},
                                            {"members", members}, {"purge", purge},   {"rename", rename_it},
                                            {"show", show}};
    return ctl_run_word(ctl, WORDS, ARRAY_SIZE(WORDS), argc, argv);
}
