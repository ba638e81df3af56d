/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/smtp.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"

enum { CONNECT_LIMIT_S = 10, SEND_LIMIT_S = 60, PASSWORD_MAX = 512, ADDRESS_SIZE = 330, WORDS_SIZE = 200 };

struct smtp {
    CURL *curl;
    char from[ADDRESS_SIZE]; /* in angle brackets, for the envelope */
    bool at_recipient;       /* the last command was RCPT */
    bool refuses_recipient;  /* and was refused for good */
    char words[WORDS_SIZE];  /* the last line by which the server refused something */
};

struct reading {
    const struct buf *text;
    size_t at;
};

static size_t read_text(char *data, size_t size, size_t count, void *argument)
{
    struct reading *reading = argument;
    size_t left = reading->text->length - reading->at, room = size * count;
    size_t n = left < room ? left : room;
    memcpy(data, reading->text->data + reading->at, n);
    reading->at += n;
    return n;
}

/* Whether an answer to RCPT is about the address: by the enhanced status (RFC 3463: X.1 addressing, X.2
 * mailbox), as servers also say there what they hold against us; without one by the codes of RFC 5321. */
static bool blames_recipient(const char *data, size_t length)
{
    if (length < 4 || data[0] != '5') {
        return false;
    }
    if (length >= 9 && data[4] == '5' && data[5] == '.') {
        return (data[6] == '1' || data[6] == '2') && data[7] == '.';
    }
    return memcmp(data, "550", 3) == 0 || memcmp(data, "551", 3) == 0 || memcmp(data, "553", 3) == 0;
}

/* Keep what the server says against it, without what could spoil a line of ours. */
static int listen_to(CURL *curl, curl_infotype kind, char *data, size_t length, void *argument)
{
    struct smtp *smtp = argument;
    (void)curl;
    if (kind == CURLINFO_HEADER_OUT) {
        smtp->at_recipient = length > 4 && memcmp(data, "RCPT", 4) == 0;
    }
    if (kind == CURLINFO_HEADER_IN && smtp->at_recipient && blames_recipient(data, length)) {
        smtp->refuses_recipient = true;
    }
    if (kind == CURLINFO_HEADER_IN && length > 4 && (data[0] == '4' || data[0] == '5')) {
        size_t n = length < sizeof(smtp->words) ? length : sizeof(smtp->words) - 1;
        for (size_t i = 0; i < n; i++) {
            smtp->words[i] = data[i] >= 0x20 && data[i] < 0x7f ? data[i] : ' ';
        }
        smtp->words[n] = '\0';
    }
    return 0;
}

/* `Name <address>` or an address. */
static void set_from(struct smtp *smtp, const char *mail_from)
{
    const char *open = strrchr(mail_from, '<');
    const char *close = open ? strchr(open, '>') : NULL;
    if (close) {
        snprintf(smtp->from, sizeof(smtp->from), "%.*s", (int)(close - open + 1), open);
    } else {
        snprintf(smtp->from, sizeof(smtp->from), "<%s>", mail_from);
    }
}

struct smtp *smtp_new(const struct config *config)
{
    uint8_t password[PASSWORD_MAX + 1];
    size_t length = 0;
    char error[CONFIG_ERROR_SIZE];
    if (*config->smtp_password_file && !config_read_private("smtp_password_file", config->smtp_password_file,
                                                            1, PASSWORD_MAX, password, &length, error)) {
        log_error("%s", error);
        return NULL;
    }
    password[length] = '\0';
    struct smtp *smtp = mem_zalloc(1, sizeof(*smtp));
    smtp->curl = curl_easy_init();
    if (!smtp->curl) {
        abort();
    }
    set_from(smtp, config->mail_from);
    curl_easy_setopt(smtp->curl, CURLOPT_URL, config->smtp_url);
    curl_easy_setopt(smtp->curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(smtp->curl, CURLOPT_USE_SSL, (long)(config->smtp_tls ? CURLUSESSL_ALL : CURLUSESSL_TRY));
    if (*config->smtp_ca_file) {
        curl_easy_setopt(smtp->curl, CURLOPT_CAINFO, config->smtp_ca_file);
    }
    if (*config->smtp_user) {
        curl_easy_setopt(smtp->curl, CURLOPT_USERNAME, config->smtp_user);
        curl_easy_setopt(smtp->curl, CURLOPT_PASSWORD, (const char *)password);
    }
    curl_easy_setopt(smtp->curl, CURLOPT_MAIL_FROM, smtp->from);
    curl_easy_setopt(smtp->curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(smtp->curl, CURLOPT_READFUNCTION, read_text);
    curl_easy_setopt(smtp->curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(smtp->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(smtp->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_LIMIT_S);
    curl_easy_setopt(smtp->curl, CURLOPT_TIMEOUT, (long)SEND_LIMIT_S);
    curl_easy_setopt(smtp->curl, CURLOPT_DEBUGFUNCTION, listen_to);
    curl_easy_setopt(smtp->curl, CURLOPT_DEBUGDATA, smtp);
    curl_easy_setopt(smtp->curl, CURLOPT_VERBOSE, 1L);
    crypto_wipe(password, sizeof(password));
    return smtp;
}

void smtp_free(struct smtp *smtp)
{
    if (smtp) {
        curl_easy_cleanup(smtp->curl);
        free(smtp);
    }
}

enum smtp_fate smtp_send(struct smtp *smtp, const char *to, const struct buf *text,
                         char ret_error[SMTP_ERROR_SIZE])
{
    struct reading reading = {.text = text};
    char recipient[ADDRESS_SIZE];
    snprintf(recipient, sizeof(recipient), "<%s>", to);
    struct curl_slist *recipients = curl_slist_append(NULL, recipient);
    if (!recipients) {
        abort();
    }
    *smtp->words = '\0';
    smtp->at_recipient = smtp->refuses_recipient = false;
    curl_easy_setopt(smtp->curl, CURLOPT_MAIL_RCPT, recipients);
    curl_easy_setopt(smtp->curl, CURLOPT_READDATA, &reading);
    CURLcode result = curl_easy_perform(smtp->curl);
    curl_easy_setopt(smtp->curl, CURLOPT_MAIL_RCPT, NULL);
    curl_slist_free_all(recipients);
    if (result == CURLE_OK) {
        return SMTP_SENT;
    }
    snprintf(ret_error, SMTP_ERROR_SIZE, "%s%s%s", curl_easy_strerror(result), *smtp->words ? ": " : "",
             smtp->words);
    /* Whatever else is refused is a matter of the settings, and no address's. */
    return smtp->refuses_recipient ? SMTP_REFUSED : SMTP_LATER;
}
