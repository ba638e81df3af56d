/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/pg_peer.h"

enum { VARIABLES_MAX = 512 };

extern char **environ;

/* What the options say comes before what ours has: of two, the first one counts. */
static char **make_environment(const PQconninfoOption *options)
{
    char **environment = mem_zalloc(VARIABLES_MAX + 1, sizeof(*environment));
    size_t count = 0;
    for (const PQconninfoOption *option = options; option && option->keyword && count < VARIABLES_MAX;
         option++) {
        if (option->envvar && option->val && *option->val) {
            size_t size = strlen(option->envvar) + strlen(option->val) + 2;
            environment[count] = mem_alloc(size);
            snprintf(environment[count++], size, "%s=%s", option->envvar, option->val);
        }
    }
    for (char **variable = environ; *variable && count < VARIABLES_MAX; variable++) {
        environment[count++] = mem_strdup(*variable);
    }
    return environment;
}

static void free_environment(char **environment)
{
    for (char **variable = environment; *variable; variable++) {
        explicit_bzero(*variable, strlen(*variable));
        free(*variable);
    }
    free(environment);
}

struct identity {
    bool other;
    uid_t uid;
    gid_t gid;
};

static void become(const char *const *argv, char **environment, const struct identity *identity, int in,
                   int out)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if ((in >= 0 && dup2(in, STDIN_FILENO) < 0) || (out >= 0 && dup2(out, STDOUT_FILENO) < 0)) {
        _exit(126);
    }
    if (identity->other && (setgroups(0, NULL) != 0 || setgid(identity->gid) != 0 ||
                            setuid(identity->uid) != 0 || chdir("/") != 0)) {
        _exit(126);
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execvpe(argv[0], (char *const *)argv, environment);
    _exit(errno == ENOENT ? 127 : 126);
}

static void close_ends(int ends[2])
{
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0) {
            close(ends[i]);
        }
    }
}

bool child_start(struct child *child, const char *const *argv, const char *url, bool takes_input,
                 bool gives_output)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    struct identity identity = {0};
    PQconninfoOption *options = url ? PQconninfoParse(url, NULL) : NULL;
    bool ready = (!takes_input || pipe2(in, O_CLOEXEC) == 0) && (!gives_output || pipe2(out, O_CLOEXEC) == 0);
    identity.other = url && pg_peer_user(url, &identity.uid, &identity.gid);
    char **environment = make_environment(options);
    fflush(NULL);
    child->name = argv[0];
    child->pid = ready ? fork() : -1;
    if (child->pid == 0) {
        become(argv, environment, &identity, in[0], out[1]);
        _exit(126);
    }
    free_environment(environment);
    PQconninfoFree(options);
    if (child->pid < 0) {
        fprintf(stderr, "tallygatectl: %s cannot be started: %s\n", argv[0], strerror(errno));
        close_ends(in);
        close_ends(out);
        return false;
    }
    if (takes_input) {
        close(in[0]);
    }
    if (gives_output) {
        close(out[1]);
    }
    child->in = in[1];
    child->out = out[0];
    return true;
}

bool child_write(const struct child *child, const void *data, size_t length)
{
    const char *at = data;
    while (length) {
        ssize_t n = write(child->in, at, length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return false;
        }
        at += n;
        length -= (size_t)n;
    }
    return true;
}

static int wait_for(struct child *child)
{
    int status = 0;
    close_ends((int[2]){child->in, child->out});
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

bool child_finish(struct child *child)
{
    int status = wait_for(child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        fprintf(
            stderr,
            "tallygatectl: there is no %s; install PostgreSQL's client programs (Debian: postgresql-client)\n",
            child->name);
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "tallygatectl: %s failed\n", child->name);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void child_stop(struct child *child)
{
    kill(child->pid, SIGTERM);
    wait_for(child);
}
