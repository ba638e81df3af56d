/* SPDX-License-Identifier: Apache-2.0 */
/* settings and log lines */
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/config.h"
#include "base/json.h"
#include "base/log.h"

/* A file with `text`; the caller unlinks it. */
static void make_file(char *ret_path, size_t size, const char *text, mode_t mode)
{
    const char *directory = getenv("TMPDIR");
    snprintf(ret_path, size, "%s/tallygate-test-XXXXXX", directory ? directory : "/tmp");
    int fd = mkstemp(ret_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static bool load(const char *text, struct config *config, char *ret_error)
{
    char path[200];
    make_file(path, sizeof(path), text, 0600);
    bool ok = config_load(config, path, ret_error);
    /* Messages begin with the path; what follows is what the cases name. */
    if (!ok && strncmp(ret_error, path, strlen(path)) == 0) {
        memmove(ret_error, ret_error + strlen(path), strlen(ret_error + strlen(path)) + 1);
    }
    unlink(path);
    return ok;
}

static void faults_are_told_with_line_and_reason(void **state)
{
    static const struct {
        const char *text;
        const char *error;
    } CASES[] = {
        {"# fine\n\nbcrypt_costs = 12\n", ":3: unknown key 'bcrypt_costs'"},
        {"bcrypt_cost = 3\n", ":1: bcrypt_cost must be a whole number from 4 to 16"},
        {"bcrypt_cost = 17\n", ":1: bcrypt_cost must be a whole number from 4 to 16"},
        {"bcrypt_cost = twelve\n", ":1: bcrypt_cost must be a whole number from 4 to 16"},
        {"bcrypt_cost = 12x\n", ":1: bcrypt_cost must be a whole number from 4 to 16"},
        {"bcrypt_cost =\n", ":1: bcrypt_cost must be a whole number from 4 to 16"},
        {"drain_s = 99999999999999999999\n", ":1: drain_s must be a whole number from 1 to 600"},
        {"log_level = loud\n", ":1: log_level must be error, warn, info or debug"},
        {"profile_requires_password = maybe\n", ":1: profile_requires_password must be yes or no"},
        {"drain_s = 5\nlog_level = info\ndrain_s = 6\n", ":3: 'drain_s' is set twice"},
        {"[server]\ndrain_s = 5\n", ":1: sections are not used here"},
        {"drain_s = 5\n[x]\n", ":2: sections are not used here"},
        {"drain_s = 5\nnonsense\n", ":2: expected 'key = value'"},
        {"database_url =\n", ":1: database_url must be 1 to 2000 bytes long"},
        {"smtp_url = mail.example.org:587\n", ":1: smtp_url must begin with smtp:// or smtps://"},
        {"trace_endpoint = file:///etc/passwd\n", ":1: trace_endpoint must begin with http:// or https://"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        struct config config = {0};
        char error[CONFIG_ERROR_SIZE] = "";
        assert_false(load(CASES[i].text, &config, error));
        assert_string_equal(error, CASES[i].error);
        config_free(&config);
    }
    struct config config = {0};
    char error[CONFIG_ERROR_SIZE];
    assert_false(config_load(&config, "/nonexistent/tallygate.conf", error));
    assert_non_null(strstr(error, "/nonexistent/tallygate.conf: cannot be read: No such file"));
    config_free(&config);
}

static void a_line_that_is_too_long_is_told(void **state)
{
    (void)state;
    char *text = mem_zalloc(1, 6000);
    memset(text, 'x', 5000);
    memcpy(text, "issuer = ", 9);
    struct config config = {0};
    char error[CONFIG_ERROR_SIZE];
    assert_false(load(text, &config, error));
    assert_non_null(strstr(error, ":1: the line is longer than"));
    config_free(&config);
    free(text);
}

static void values_lists_and_comments_are_read(void **state)
{
    static const char TEXT[] =
        "; comment\n# comment\ncors_origins = https://a.example\n   https://b.example\n"
        "bcrypt_cost = 4 ; inline\nprofile_requires_password = off\nlog_level = debug\n"
        "issuer=https://x.example/#frag\n";
    (void)state;
    struct config config = {0};
    char error[CONFIG_ERROR_SIZE];
    assert_true(load(TEXT, &config, error));
    assert_string_equal(config.cors_origins, "https://a.example https://b.example");
    assert_int_equal(config.bcrypt_cost, 4);
    assert_int_equal(config.profile_requires_password, 0);
    assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(config.issuer, "https://x.example/#frag");
    assert_int_equal(config.access_token_ttl_s, 900); /* the default */
    config_free(&config);
}

static void the_environment_overrides(void **state)
{
    (void)state;
    struct config config = {0};
    char error[CONFIG_ERROR_SIZE];
    setenv("DATABASE_URL", "host=/override", 1);
    setenv("REDIS_URL", "unix:/override", 1);
    setenv("SECRET_KEY_FILE", "/override/secret", 1);
    assert_true(load("database_url = host=/file\n", &config, error));
    assert_string_equal(config.database_url, "host=/override");
    assert_string_equal(config.redis_url, "unix:/override");
    assert_string_equal(config.secret_key_file, "/override/secret");
    config_free(&config);
    setenv("DATABASE_URL", "", 1);
    assert_false(load("", &config, error));
    assert_string_equal(error, "environment variable DATABASE_URL: must be 1 to 2000 bytes long");
    config_free(&config);
    unsetenv("DATABASE_URL");
    unsetenv("REDIS_URL");
    unsetenv("SECRET_KEY_FILE");
}

static void the_secret_must_be_long_and_private(void **state)
{
    static const struct {
        const char *text;
        mode_t mode;
        const char *error; /* NULL: taken */
    } CASES[] = {
        {"0123456789abcdef0123456789abcdef\n", 0600, NULL},
        {"0123456789abcdef0123456789abcdef", 0400, NULL},
        {"0123456789abcdef0123456789abcde\n", 0600, "holds 31 bytes; at least 32 are needed"},
        {"", 0600, "holds 0 bytes"},
        {"0123456789abcdef0123456789abcdef\n", 0640, "others can read it (mode 640)"},
        {"0123456789abcdef0123456789abcdef\n", 0604, "others can read it (mode 604)"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        char path[200];
        char error[CONFIG_ERROR_SIZE] = "";
        make_file(path, sizeof(path), CASES[i].text, CASES[i].mode);
        struct config config = {.secret_key_file = mem_strdup(path)};
        assert_int_equal(config_load_secret(&config, error), !CASES[i].error);
        if (CASES[i].error) {
            assert_non_null(strstr(error, CASES[i].error));
            assert_null(strstr(error, "0123456789"));
        } else {
            assert_int_equal(config.secret_length, 32);
        }
        config_free(&config);
        unlink(path);
    }
    struct config config = {.secret_key_file = mem_strdup("/tmp")};
    char error[CONFIG_ERROR_SIZE];
    assert_false(config_load_secret(&config, error));
    config_free(&config);
}

static void secrets_are_masked_when_shown(void **state)
{
    (void)state;
    struct config config = {0};
    char error[CONFIG_ERROR_SIZE];
    char *text = NULL;
    size_t size = 0;
    assert_true(
        load("database_url = postgresql://u:hunter2@h/d\nredis_url = redis://u:hunter2@h\n", &config, error));
    FILE *out = open_memstream(&text, &size);
    config_show(&config, out);
    fclose(out);
    assert_null(strstr(text, "hunter2"));
    assert_non_null(strstr(text, "database_url = (hidden)\n"));
    assert_non_null(strstr(text, "bcrypt_cost = 12\n"));
    assert_non_null(strstr(text, "profile_requires_password = yes\n"));
    free(text);
    config_free(&config);
}

/* ---- log ---- */

/* What `write_lines` writes to standard error. */
static char *captured(void (*write_lines)(void))
{
    static char text[65536];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    write_lines();
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    close(ends[0]);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void write_a_forged_line(void)
{
    static const struct log_request REQUEST = {
        .request_id = "id-1", .trace_id = "t", .method = "GET\n", .route = "/x\"}", .user_id = 7};
    log_setup("svc", "api", LOG_LEVEL_INFO);
    log_set_request(&REQUEST);
    log_error("first\n{\"level\":\"forged\"}\x1b[31m \xff %s\n", "end");
    log_set_request(NULL);
}

static void write_at_all_levels(void)
{
    log_setup("svc", NULL, LOG_LEVEL_WARN);
    log_error("e");
    log_warn("w");
    log_info("i");
    log_debug("d");
    log_access(200, 1);
}

static void write_access(void)
{
    log_setup("svc", "ingest", LOG_LEVEL_INFO);
    log_access(201, 1500);
    log_thread_end();
}

static void no_input_can_forge_a_line(void **state)
{
    (void)state;
    char *text = captured(write_a_forged_line);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
    JSON_AUTO line = NULL;
    struct json_fault fault;
    assert_true(json_parse(text, strlen(text), &line, &fault));
    struct json_object *member;
    assert_true(json_object_object_get_ex(line, "level", &member));
    assert_string_equal(json_object_get_string(member), "error");
    assert_true(json_object_object_get_ex(line, "user_id", &member));
    assert_int_equal(json_object_get_int64(member), 7);
    assert_true(json_object_object_get_ex(line, "message", &member));
    assert_string_equal(json_object_get_string(member),
                        "first\n{\"level\":\"forged\"}\x1b[31m \xef\xbf\xbd end");
    assert_true(json_object_object_get_ex(line, "pool", &member));
    assert_null(strchr(text, '\x1b'));
}

static void levels_filter(void **state)
{
    (void)state;
    char *text = captured(write_at_all_levels);
    assert_non_null(strstr(text, "\"message\":\"e\""));
    assert_non_null(strstr(text, "\"message\":\"w\""));
    assert_null(strstr(text, "\"message\":\"i\""));
    assert_null(strstr(text, "\"message\":\"d\""));
    assert_null(strstr(text, "\"status\""));
}

static void an_access_line_tells_status_and_duration(void **state)
{
    (void)state;
    char *text = captured(write_access);
    assert_non_null(strstr(text, "\"status\":201,\"duration_ms\":1.500,"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_told_with_line_and_reason),
        cmocka_unit_test(a_line_that_is_too_long_is_told),
        cmocka_unit_test(values_lists_and_comments_are_read),
        cmocka_unit_test(the_environment_overrides),
        cmocka_unit_test(the_secret_must_be_long_and_private),
        cmocka_unit_test(secrets_are_masked_when_shown),
        cmocka_unit_test(no_input_can_forge_a_line),
        cmocka_unit_test(levels_filter),
        cmocka_unit_test(an_access_line_tells_status_and_duration),
    };
    return RUN(tests);
}
