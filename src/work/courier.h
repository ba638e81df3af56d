/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The courier sends what deliveries are due, by HTTP, many at once from one thread (libcurl's multi
 * interface), until none is. To each webhook only a few go at once, to one that fails a single one, so that
 * one that is slow holds up no other.
 *
 * Requests are those of Standard Webhooks 1.0: webhook-id, which is the event's, webhook-timestamp and
 * webhook-signature, over the event's envelope or, where the webhook wants it, its CloudEvent. Any answer of
 * 2xx is a success. Everything else is tried again, after 5 seconds at first and a day at last, or when the
 * receiver says (Retry-After), ten times over three days; 410 disables the webhook.
 *
 * Who chooses a URL must not make us ask what only we can reach (server-side request forgery). So only http
 * and https are spoken, no redirect is followed and no proxy is asked, and each connection's own address is
 * looked at when its socket is opened, after all names are resolved (base/network.h).
 */
#ifndef TALLYGATE_WORK_COURIER_H
#define TALLYGATE_WORK_COURIER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/err.h"
#include "store/pg.h"
#include "work/delivery.h"

struct courier_options {
    const struct config *config; /* with the master secret */
    struct pg *pg;
    delivery_disabled_taker *disabled;
    bool (*should_stop)(void *argument); /* then begin nothing more */
    void (*progress)(void *argument, int64_t attempts);
    void *argument;
};

/* Until nothing is due or under way. ERR_UNAVAILABLE when the database went: what was sent last may be sent
 * again. ERR_INTERNAL when OpenSSL or libcurl refuse. */
enum err courier_run(const struct courier_options *options);

#endif
