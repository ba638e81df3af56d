/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl mail write DIR | follow DIR */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "identity/mail.h"

enum { LOOK_EVERY_MS = 250 };

static void tell_sealed(int64_t count)
{
    fprintf(stderr, "tallygatectl: %" PRId64 " mails wait on: they were sealed with another master secret\n",
            count);
}

static int write_once(struct ctl *ctl, const char *directory)
{
    struct mail_written written;
    if (mail_write(ctl->config, ctl->pg, directory, &written) != ERR_OK) {
        fputs("tallygatectl: mail write: not all was written; see the line above\n", stderr);
        return CTL_FAILED;
    }
    if (ctl->json) {
        printf("{\"written\":%" PRId64 ",\"sealed\":%" PRId64 "}\n", written.count, written.sealed);
    } else {
        printf("wrote %" PRId64 " mails\n", written.count);
    }
    if (written.sealed) {
        tell_sealed(written.sealed);
    }
    return written.sealed ? CTL_FAILED : CTL_OK;
}

/* Until SIGTERM or SIGINT. What fails is tried again, as the database may come back. */
static int follow(struct ctl *ctl, const char *directory)
{
    sigset_t stop;
    struct mail_written written;
    int64_t told = 0;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    int fd = signalfd(-1, &stop, SFD_CLOEXEC);
    struct pollfd stopped = {.fd = fd, .events = POLLIN};
    do {
        if (mail_write(ctl->config, ctl->pg, directory, &written) == ERR_OK && written.sealed > told) {
            tell_sealed(written.sealed);
            told = written.sealed;
        }
    } while (poll(&stopped, 1, LOOK_EVERY_MS) == 0);
    close(fd);
    return CTL_OK;
}

int ctl_mail(struct ctl *ctl, int argc, char **argv)
{
    char error[CONFIG_ERROR_SIZE];
    bool follows = argc == 3 && strcmp(argv[1], "follow") == 0;
    if (argc != 3 || (!follows && strcmp(argv[1], "write") != 0)) {
        return ctl_usage(argv[0]);
    }
    if (!config_load_secret(ctl->config, error)) { /* what mails carry is sealed with it */
        fprintf(stderr, "tallygatectl: %s\n", error);
        return CTL_FAILED;
    }
    return follows ? follow(ctl, argv[2]) : write_once(ctl, argv[2]);
}
