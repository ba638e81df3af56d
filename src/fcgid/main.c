/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tallygate-fcgi: reads its arguments and settings, refuses to start on what could not work, and
 * runs the master of one pool.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/trace.h"
#include "fcgid/master.h"
#include "fcgid/routes.h"
#include "store/migrate.h"
#include "store/redis.h"

enum mode {
    MODE_RUN,
    MODE_CHECK_CONFIG,
    MODE_CHECK_START,
    MODE_SHOW_CONFIG,
    MODE_LIST_KEYS,
    MODE_LIST_ROUTES
};

enum { EXIT_USAGE = 2 };

struct arguments {
    enum mode mode;
    const char *config_path;
    const char *pool_name;
};

static const struct pool_name {
    const char *name;
    enum pool pool;
} POOLS[] = {{"auth", POOL_AUTH}, {"ingest", POOL_INGEST}, {"api", POOL_API}};

static int usage(FILE *out)
{
    fputs("usage: tallygate-fcgi --pool auth|ingest|api [--config FILE]\n"
          "       tallygate-fcgi --check-config | --check-start | --show-config [--config FILE]\n"
          "       tallygate-fcgi --list-keys | --list-routes | --version\n"
          "Runs one pool on the listening socket at descriptor 0; see tallygate-fcgi(8).\n",
          out);
    return out == stdout ? 0 : EXIT_USAGE;
}

/* Returns -1 to go on, else the exit code. */
static int read_arguments(int argc, char **argv, struct arguments *ret)
{
    static const struct option OPTIONS[] = {
        {"pool", required_argument, NULL, 'p'},   {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, 'k'}, {"check-start", no_argument, NULL, 't'},
        {"show-config", no_argument, NULL, 's'},  {"list-keys", no_argument, NULL, 'l'},
        {"list-routes", no_argument, NULL, 'r'},  {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "c:p:hV", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'p':
            ret->pool_name = optarg;
            break;
        case 'c':
            ret->config_path = optarg;
            break;
        case 'k':
            ret->mode = MODE_CHECK_CONFIG;
            break;
        case 't':
            ret->mode = MODE_CHECK_START;
            break;
        case 's':
            ret->mode = MODE_SHOW_CONFIG;
            break;
        case 'l':
            ret->mode = MODE_LIST_KEYS;
            break;
        case 'r':
            ret->mode = MODE_LIST_ROUTES;
            break;
        case 'V':
            puts("tallygate-fcgi " PACKAGE_VERSION);
            return 0;
        case 'h':
            return usage(stdout);
        default:
            return usage(stderr);
        }
    }
    return optind == argc ? -1 : usage(stderr);
}

static void list_routes(void)
{
    for (size_t i = 0; i < ROUTES_COUNT; i++) {
        printf("%s %s\n", ROUTES[i].method, ROUTES[i].pattern);
    }
}

/* Settings and secret; says what is wrong. */
static bool read_settings(const char *path, struct config *config)
{
    char error[CONFIG_ERROR_SIZE];
    const char *reason;
    if (!config_load(config, path, error) || !config_load_secret(config, error)) {
        fprintf(stderr, "tallygate-fcgi: %s\n", error);
        return false;
    }
    if (!pg_url_valid(config->database_url, &reason)) {
        fprintf(stderr, "tallygate-fcgi: database_url: %s\n", reason);
        return false;
    }
    if (!redis_url_valid(config->redis_url, &reason)) {
        fprintf(stderr, "tallygate-fcgi: redis_url: %s\n", reason);
        return false;
    }
    return true;
}

/* A schema that is too old stops the start. A database that is away does not: workers answer 503
 * and heal, and check the schema themselves before they serve. */
static bool schema_fits(const struct config *config)
{
    const struct pg_options options = {
        .url = config->database_url,
        .application_name = "tallygate-start",
        .connect_timeout_s = config->database_connect_timeout_s,
        .statement_timeout_ms = config->database_timeout_ms,
    };
    struct pg *pg = pg_new(&options);
    int version = 0;
    enum err e = migrate_current(pg, &version);
    pg_free(pg);
    if (!e && version < migrate_required()) {
        log_error("the database is at schema version %d, this program needs %d: run tallygatectl migrate up",
                  version, migrate_required());
        return false;
    }
    return true;
}

static const struct pool_name *find_pool(const char *name)
{
    for (size_t i = 0; name && i < ARRAY_SIZE(POOLS); i++) {
        if (strcmp(POOLS[i].name, name) == 0) {
            return &POOLS[i];
        }
    }
    return NULL;
}

/* Each request under way has a descriptor, and the usual soft limit, 1024, is there for programs that call
 * select(2), which we do not. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int run_pool(const struct config *config, const struct pool_name *pool, const char *config_path,
                    char **argv)
{
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (length < 0) {
        log_error("/proc/self/exe: %s", strerror(errno));
        return 1;
    }
    program[length] = '\0';
    /* The memory holds the master secret and passwords on their way: no core dump, no ptrace. Leak
     * checking needs ptrace. */
#ifndef __SANITIZE_ADDRESS__
    prctl(PR_SET_DUMPABLE, 0);
#endif
    raise_descriptor_limit();
    struct master_options options = {
        .config = config, .pool = pool->pool, .argv = argv, .program = program, .config_path = config_path};
    int64_t workers = pool->pool == POOL_AUTH     ? config->auth_workers
                      : pool->pool == POOL_INGEST ? config->ingest_workers
                                                  : config->api_workers;
    int64_t threads = pool->pool == POOL_AUTH     ? config->auth_threads
                      : pool->pool == POOL_INGEST ? config->ingest_threads
                                                  : config->api_threads;
    trace_setup(config, pool->name);
    options.workers = (int)workers;
    options.threads = (int)threads;
    return master_run(&options);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.mode = MODE_RUN};
    struct config config = {0};
    int code = read_arguments(argc, argv, &arguments);
    if (code >= 0) {
        return code;
    }
    if (arguments.mode == MODE_LIST_KEYS) {
        config_list_keys(stdout);
        return 0;
    }
    if (arguments.mode == MODE_LIST_ROUTES) {
        list_routes();
        return 0;
    }
    const struct pool_name *pool = find_pool(arguments.pool_name);
    if (arguments.mode == MODE_RUN && !pool) {
        return usage(stderr);
    }
    code = 1;
    if (read_settings(arguments.config_path, &config)) {
        log_setup("tallygate-fcgi", pool ? pool->name : NULL, (enum log_level)config.log_level);
        if (arguments.mode == MODE_SHOW_CONFIG) {
            config_show(&config, stdout);
            code = 0;
        } else if (arguments.mode == MODE_CHECK_CONFIG) {
            puts("the settings are fine");
            code = 0;
        } else if (schema_fits(&config)) {
            code =
                arguments.mode == MODE_CHECK_START ? 0 : run_pool(&config, pool, arguments.config_path, argv);
        }
    }
    config_free(&config);
    return code;
}
