/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/secret.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/mem.h"

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

/* A signal in the middle ends the program only when the terminal shows again what is typed. They are blocked
 * but while nothing is typed, so that none comes between looking and waiting. */
static volatile sig_atomic_t interrupted;
static const int SIGNALS[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};

static void note_signal(int number)
{
    interrupted = number;
}

static bool ask(const char *what, const char *again, const sigset_t *open, char ret_text[CTL_SECRET_MAX])
{
    struct pollfd typed = {.fd = STDIN_FILENO, .events = POLLIN};
    fprintf(stderr, "%s%s: ", what, again);
    bool read = ppoll(&typed, 1, NULL, open) > 0 && read_line(ret_text);
    fputc('\n', stderr);
    return read;
}

static bool ask_twice(const char *what, char ret_text[CTL_SECRET_MAX])
{
    char again[CTL_SECRET_MAX];
    struct sigaction before[ARRAY_SIZE(SIGNALS)];
    const struct sigaction note = {.sa_handler = note_signal};
    sigset_t blocked, open;
    sigemptyset(&blocked);
    for (size_t i = 0; i < ARRAY_SIZE(SIGNALS); i++) {
        sigaddset(&blocked, SIGNALS[i]);
        sigaction(SIGNALS[i], &note, &before[i]);
    }
    sigprocmask(SIG_BLOCK, &blocked, &open);
    bool read = ask(what, "", &open, ret_text) && ask(what, " again", &open, again);
    sigprocmask(SIG_SETMASK, &open, NULL); /* what came meanwhile is noted now */
    for (size_t i = 0; i < ARRAY_SIZE(SIGNALS); i++) {
        sigaction(SIGNALS[i], &before[i], NULL);
    }
    if (read && strcmp(ret_text, again) != 0) {
        fputs("tallygatectl: the two are not the same\n", stderr);
        read = false;
    }
    crypto_wipe(again, sizeof(again));
    return read;
}

bool ctl_read_secret(const char *what, char ret_text[CTL_SECRET_MAX])
{
    struct termios shown, hidden;
    if (tcgetattr(STDIN_FILENO, &shown) != 0) {
        return read_line(ret_text);
    }
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    bool read = ask_twice(what, ret_text);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    if (interrupted) {
        read = false;
        raise(interrupted);
    }
    if (!read) {
        crypto_wipe(ret_text, CTL_SECRET_MAX);
    }
    return read;
}
