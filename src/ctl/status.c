/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl status: the pools at a glance, from what they count. */
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "ctl/ctl.h"
#include "ctl/exposition.h"
#include "ctl/options.h"
#include "ctl/print.h"

enum { WATCH_US = 2000000 };

static int look(const struct ctl *ctl, const char *directory)
{
    const struct metrics *pools[EXPOSITION_POOLS];
    JSON_AUTO all = json_object_new_object();
    struct json_object *items = json_object_new_array();
    bool well = true;
    json_add(all, "items", items);
    exposition_open(directory, pools);
    for (size_t i = 0; i < EXPOSITION_POOLS; i++) {
        const struct metrics *pool = pools[i];
        if (i == EXPOSITION_JOBD && !pool) {
            continue; /* it may run on another host */
        }
        struct json_object *item = json_object_new_object();
        int64_t workers = pool ? exposition_gauge(pool, offsetof(struct metrics_seat, ready)) : 0;
        well = well && workers > 0;
        json_add_string(item, "pool", EXPOSITION_NAMES[i]);
        json_add_string(item, "state", workers > 0 ? "serves" : pool ? "stopped" : "was never started");
        json_add_int(item, "workers", workers);
        json_add_int(item, "requests_under_way",
                     pool ? exposition_gauge(pool, offsetof(struct metrics_seat, requests)) : 0);
        json_add_int(item, "events_queued",
                     pool ? exposition_gauge(pool, offsetof(struct metrics_seat, queued)) : 0);
        json_add_int(item, "answered", pool ? (int64_t)exposition_answers(pool, 0) : 0);
        json_add_int(item, "failed", pool ? (int64_t)exposition_answers(pool, 500) : 0);
        json_add_int(item, "workers_replaced", pool ? (int64_t)atomic_load(&pool->workers_replaced) : 0);
        if (pool) {
            json_add_time(item, "since", atomic_load(&pool->started_us));
        } else {
            json_add(item, "since", NULL);
        }
        json_object_array_add(items, item);
        metrics_close(pool);
    }
    ctl_print(ctl, all, NULL);
    return well ? CTL_OK : CTL_FAILED;
}

int ctl_status(struct ctl *ctl, int argc, char **argv)
{
    enum { SOCKETS, WATCH, COUNT };
    static const struct option OPTIONS[] = {{"sockets", required_argument, NULL, SOCKETS},
                                            {"watch", no_argument, NULL, WATCH},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    if (first != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage(argv[0]);
    }
    const char *directory = texts[SOCKETS] ? texts[SOCKETS] : TALLYGATE_RUNDIR;
    while (texts[WATCH]) { /* until it is interrupted */
        fputs(ctl->json ? "" : "\033[H\033[2J", stdout);
        (void)look(ctl, directory);
        fflush(stdout);
        usleep(WATCH_US);
    }
    return look(ctl, directory);
}
