/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to a mail server by SMTP (RFC 5321), with STARTTLS and a password where the settings say so.
 * libcurl speaks it; the connection is kept for the next mail.
 */
#ifndef TALLYGATE_IDENTITY_SMTP_H
#define TALLYGATE_IDENTITY_SMTP_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/config.h"

struct smtp;

enum { SMTP_ERROR_SIZE = 300 };

enum smtp_fate {
    SMTP_SENT,
    SMTP_LATER,  /* the server is away, or asks to come again */
    SMTP_REFUSED /* for good: it takes no mail for this address, or not this one */
};

/* NULL after logging why: smtp_password_file cannot be read. */
struct smtp *smtp_new(const struct config *config);
void smtp_free(struct smtp *smtp);
/* Send one. ret_error says what happened to one that is not sent, in a line. */
enum smtp_fate smtp_send(struct smtp *smtp, const char *to, const struct buf *text,
                         char ret_error[SMTP_ERROR_SIZE]);

#endif
