/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mails to the people who have accounts. One is a row of the outbox, written in the transaction of its cause:
 * {to, template, …}, and what it must not tell those who read the database, sealed with the master secret. It
 * becomes a text (RFC 5322) only when it is sent.
 *
 * tallygate-jobd sends them by SMTP, where the settings name a server: an attempt takes rows for a while,
 * speaks to the server, and then tells what came of it, so a mail is sent at least once, always with the same
 * Message-ID. Else tallygatectl mail write puts them into a directory, each row locked while it is under way.
 */
#ifndef TALLYGATE_IDENTITY_MAIL_H
#define TALLYGATE_IDENTITY_MAIL_H

#include <stdint.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/err.h"
#include "store/pg.h"

enum {
    MAIL_TOKEN_SIZE = 48, /* `tgm_`, 43 characters and NUL */
    MAIL_SEALED_SIZE = MAIL_TOKEN_SIZE + CRYPTO_SEAL_OVERHEAD,
};

/* A mail that carries a token, about to be stored. */
struct mail_token {
    char outbox_id[UUID_TEXT_SIZE];
    uint8_t hash[CRYPTO_SHA256_SIZE]; /* of the token: what is stored to know it by */
    uint8_t sealed[MAIL_SEALED_SIZE]; /* the token itself, for the outbox */
};

/* Draw one. ERR_INTERNAL when OpenSSL refuses. */
enum err mail_token_make(const struct config *config, struct mail_token *ret_token);
/* Add it to the parameters of a statement, in the order outbox id, hash, sealed token. */
void mail_token_params(const struct mail_token *token, struct pg_params *params);
/* The hash of a token that came back, which has the form of one; false when it has not. */
bool mail_token_hash(const char *text, size_t length, uint8_t ret_hash[CRYPTO_SHA256_SIZE]);

/* Tell the account of `user_id`, by a mail without a token, in the caller's transaction. `to` is an address
 * in place of the account's own, or NULL. */
enum err mail_notice(struct pg *pg, int64_t user_id, const char *to, const char *template);

/* The same about something, which is a line of the mail. */
enum err mail_notice_about(struct pg *pg, int64_t user_id, const char *to, const char *template,
                           const char *about);

struct mail_written {
    int64_t count;
    int64_t sealed; /* that wait on, as they were sealed with another master secret */
};

/* Write the mails that wait into `directory`, each as ID.eml, and mark them as done.
 * What fails is told on standard error; ERR_INTERNAL when a file cannot be written. */
enum err mail_write(const struct config *config, struct pg *pg, const char *directory,
                    struct mail_written *ret_written);

struct smtp;

struct mail_sent {
    int64_t sent;
    int64_t later;   /* wait for another attempt */
    int64_t refused; /* given up */
};

/* Whether any mail is due. */
enum err mail_is_due(struct pg *pg, bool *ret_due);
/* Send one that is due; *ret_more: there was one, and may be others. ERR_UNAVAILABLE when the database went
 * on the way: what was sent may be sent again. */
enum err mail_send(const struct config *config, struct pg *pg, struct smtp *smtp, struct mail_sent *sent,
                   bool *ret_more);

/* Drop some mails that were sent or given up a week ago, and tokens that expired. *ret_more: there may be
 * others. */
enum err mail_prune(struct pg *pg, bool *ret_more);

#endif
