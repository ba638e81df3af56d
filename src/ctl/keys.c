/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl keys status | rotate [SECONDS] */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "ctl/ctl.h"
#include "ctl/print.h"
#include "identity/keyring.h"

enum { DELAY_S = 900, DELAY_MIN_S = 400, /* see discovery.h */ DELAY_MAX_S = 30 * 86400 };

static const char *state_of(const struct keyring_key *keys, size_t i, int64_t now_us)
{
    if (keys[i].active_from_us > now_us) {
        return "next";
    }
    return i == 0 || keys[i - 1].active_from_us > now_us ? "signs" : "verifies";
}

static int show(struct ctl *ctl)
{
    struct keyring *keyring = keyring_new(ctl->config, false);
    struct keyring_key keys[KEYRING_KEYS_MAX];
    int64_t now_us = clock_now_us();
    enum err e = keyring_load(keyring, ctl->pg);
    size_t count = e ? 0 : keyring_public(keyring, keys);
    keyring_free(keyring);
    if (e == ERR_NOT_FOUND) {
        fputs("tallygatectl: there is no key yet; the first one is made when the service starts\n", stderr);
        return CTL_NOT_FOUND;
    }
    if (e) {
        return ctl_database_failed("keys status");
    }
    JSON_AUTO all = json_object_new_object();
    struct json_object *items = json_object_new_array();
    json_add(all, "items", items);
    for (size_t i = 0; i < count; i++) {
        struct json_object *item = json_object_new_object();
        json_add_string(item, "kid", keys[i].kid);
        json_add_string(item, "state", state_of(keys, i, now_us));
        json_add_time(item, "from", keys[i].active_from_us);
        json_object_array_add(items, item);
    }
    ctl_print(ctl, all, NULL);
    return CTL_OK;
}

static int rotate(struct ctl *ctl, int64_t delay_s)
{
    struct keyring_key key;
    char error[CONFIG_ERROR_SIZE];
    if (!config_load_secret(ctl->config, error)) { /* the private part is sealed with it */
        fprintf(stderr, "tallygatectl: %s\n", error);
        return CTL_FAILED;
    }
    struct keyring *keyring = keyring_new(ctl->config, true);
    enum err e = keyring_load(keyring, ctl->pg);
    keyring_free(keyring);
    if (e == ERR_INTERNAL) {
        fputs("tallygatectl: this is not the master secret that the other keys are sealed with\n", stderr);
        return CTL_FAILED;
    }
    e = e ? e : keyring_rotate(ctl->config, ctl->pg, delay_s, &key);
    if (e == ERR_CONFLICT) {
        fputs("tallygatectl: a key waits for its turn already; see tallygatectl keys status\n", stderr);
        return CTL_FAILED;
    }
    if (e) {
        return ctl_database_failed("keys rotate");
    }
    JSON_AUTO told = json_object_new_object();
    json_add_string(told, "kid", key.kid);
    json_add_time(told, "from", key.active_from_us);
    ctl_print(ctl, told, NULL);
    return CTL_OK;
}

static bool read_delay(const char *text, int64_t *ret_delay_s)
{
    char *end;
    errno = 0;
    long long delay_s = strtoll(text, &end, 10);
    if (errno || end == text || *end || delay_s < DELAY_MIN_S || delay_s > DELAY_MAX_S) {
        fprintf(stderr, "tallygatectl: the next key signs after %d to %d seconds\n", DELAY_MIN_S,
                DELAY_MAX_S);
        return false;
    }
    *ret_delay_s = delay_s;
    return true;
}

int ctl_keys(struct ctl *ctl, int argc, char **argv)
{
    int64_t delay_s = DELAY_S;
    if (argc == 2 && strcmp(argv[1], "status") == 0) {
        return show(ctl);
    }
    if (argc == 3 && strcmp(argv[1], "rotate") == 0) {
        return read_delay(argv[2], &delay_s) ? rotate(ctl, delay_s) : CTL_USAGE;
    }
    return argc == 2 && strcmp(argv[1], "rotate") == 0 ? rotate(ctl, delay_s) : ctl_usage(argv[0]);
}
