/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/secret.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/crypto.h"

static bool read_line(char ret_text[CTL_SECRET_MAX])
{
    if (!fgets(ret_text, CTL_SECRET_MAX, stdin)) {
        fputs("tallygatectl: standard input has no line\n", stderr);
        return false;
    }
    size_t length = strcspn(ret_text, "\r\n");
    if (!ret_text[length] && length == CTL_SECRET_MAX - 1) {
        fputs("tallygatectl: the line is too long\n", stderr);
        return false;
    }
    ret_text[length] = '\0';
    return true;
}

static bool ask(const char *what, const char *again, char ret_text[CTL_SECRET_MAX])
{
    fprintf(stderr, "%s%s: ", what, again);
    bool read = read_line(ret_text);
    fputc('\n', stderr);
    return read;
}

bool ctl_read_secret(const char *what, char ret_text[CTL_SECRET_MAX])
{
    struct termios shown, hidden;
    char again[CTL_SECRET_MAX];
    if (tcgetattr(STDIN_FILENO, &shown) != 0) {
        return read_line(ret_text);
    }
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    bool read = ask(what, "", ret_text) && ask(what, " again", again);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    if (read && strcmp(ret_text, again) != 0) {
        fputs("tallygatectl: the two are not the same\n", stderr);
        read = false;
    }
    crypto_wipe(again, sizeof(again));
    return read;
}
