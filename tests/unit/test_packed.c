/* SPDX-License-Identifier: Apache-2.0 */
/* packed */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/packed.h"

enum { BIG = 3 * 1024 * 1024 };

static char directory[] = "/tmp/tg-packed-XXXXXX";
static char path[64];
static char error[PACKED_ERROR_SIZE];

static int set_up(void **state)
{
    (void)state;
    *error = '\0';
    snprintf(directory, sizeof(directory), "/tmp/tg-packed-XXXXXX");
    if (!mkdtemp(directory)) {
        return -1;
    }
    snprintf(path, sizeof(path), "%s/file.zst", directory);
    return 0;
}

static int tear_down(void **state)
{
    char partial[80];
    (void)state;
    snprintf(partial, sizeof(partial), "%s.partial", path);
    unlink(path);
    unlink(partial);
    return rmdir(directory);
}

/* Text that does not compress to nothing. */
static void fill(char *text, size_t length)
{
    unsigned seed = 1;
    for (size_t i = 0; i < length; i++) {
        seed = seed * 1103515245U + 12345U;
        text[i] = (char)('a' + (seed >> 16) % 26);
    }
}

static struct packed_sum write_file(const char *text, size_t length, size_t piece)
{
    struct packed_sum sum;
    struct packed_writer *writer = packed_create(path, error);
    assert_non_null(writer);
    assert_int_equal(access(path, F_OK), -1); /* it has its name in the end only */
    for (size_t at = 0; at < length; at += piece) {
        size_t n = length - at < piece ? length - at : piece;
        assert_true(packed_write(writer, text + at, n, error));
    }
    assert_true(packed_finish(writer, &sum, error));
    return sum;
}

/* The number of bytes that could be read and were those of `text`, and how it ended. */
static size_t read_file(const char *text, size_t size, ssize_t *ret_last, struct packed_sum *ret_sum)
{
    char *chunk = malloc(size);
    struct packed_reader *reader = packed_open(path, error);
    size_t at = 0;
    assert_non_null(reader);
    while ((*ret_last = packed_read(reader, chunk, size, error)) > 0) {
        assert_memory_equal(chunk, text + at, (size_t)*ret_last);
        at += (size_t)*ret_last;
    }
    assert_true(packed_sum(reader, ret_sum));
    packed_close(reader);
    free(chunk);
    return at;
}

static void what_is_written_is_read(void **state)
{
    static const size_t LENGTHS[] = {0, 1, 1000, BIG};
    static const size_t PIECES[] = {1000, 7, BIG};
    char *text = malloc(BIG);
    (void)state;
    fill(text, BIG);
    for (size_t i = 0; i < sizeof(LENGTHS) / sizeof(*LENGTHS); i++) {
        for (size_t k = LENGTHS[i] == BIG ? 2 : 0; k < 3; k++) {
            ssize_t last;
            struct packed_sum read;
            struct stat st;
            struct packed_sum written = write_file(text, LENGTHS[i], PIECES[k]);
            assert_int_equal(read_file(text, k == 1 ? 13 : 100000, &last, &read), LENGTHS[i]);
            assert_int_equal(last, 0);
            assert_int_equal(written.plain_bytes, LENGTHS[i]);
            assert_int_equal(read.plain_bytes, LENGTHS[i]);
            assert_int_equal(stat(path, &st), 0);
            assert_int_equal(st.st_mode & 0777, 0600);
            assert_int_equal(written.bytes, st.st_size);
            assert_int_equal(read.bytes, st.st_size);
            assert_memory_equal(written.sha256, read.sha256, CRYPTO_SHA256_SIZE);
            unlink(path);
        }
    }
    free(text);
}

static void a_file_that_is_cut_or_spoilt_is_told(void **state)
{
    char *text = malloc(BIG);
    struct packed_sum sum, read;
    ssize_t last;
    (void)state;
    fill(text, BIG);
    sum = write_file(text, BIG, BIG);
    static const off_t LESS[] = {1, 4, 1000, BIG / 3};
    for (size_t i = 0; i < sizeof(LESS) / sizeof(*LESS); i++) {
        assert_int_equal(truncate(path, (off_t)sum.bytes - LESS[i]), 0);
        (void)read_file(text, 65536, &last, &read);
        assert_int_equal(last, -1);
        assert_non_null(strstr(error, "cut short"));
    }
    unlink(path);
    sum = write_file(text, BIG, BIG);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, (long)sum.bytes / 2, SEEK_SET);
    int c = fgetc(file);
    fseek(file, (long)sum.bytes / 2, SEEK_SET);
    fputc(c ^ 0x55, file);
    fclose(file);
    struct packed_reader *reader = packed_open(path, error);
    char chunk[65536];
    do {
        last = packed_read(reader, chunk, sizeof(chunk), error);
    } while (last > 0);
    packed_close(reader);
    assert_int_equal(last, -1);
    assert_non_null(strstr(error, "is damaged"));
    free(text);
}

static void a_plain_file_is_read_as_it_is(void **state)
{
    static const char *const TEXTS[] = {"", "a", "abc", "(\xb5/", "plain text of some length\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(*TEXTS); i++) {
        ssize_t last;
        struct packed_sum read;
        uint8_t expected[CRYPTO_SHA256_SIZE];
        assert_true(packed_put(path, TEXTS[i], strlen(TEXTS[i]), error));
        assert_int_equal(read_file(TEXTS[i], 10, &last, &read), strlen(TEXTS[i]));
        assert_int_equal(last, 0);
        crypto_sha256(TEXTS[i], strlen(TEXTS[i]), expected);
        assert_memory_equal(read.sha256, expected, sizeof(expected));
        unlink(path);
    }
}

static void nothing_is_overwritten(void **state)
{
    (void)state;
    assert_true(packed_put(path, "mine", 4, error));
    assert_false(packed_put(path, "theirs", 6, error));
    assert_null(packed_create(path, error));
    assert_non_null(strstr(error, "is there already"));
    assert_null(packed_create("/nowhere/file", error));
    assert_null(packed_open("/nowhere/file", error));
}

static void what_is_given_up_leaves_nothing(void **state)
{
    (void)state;
    struct packed_writer *writer = packed_create(path, error);
    assert_true(packed_write(writer, "x", 1, error));
    packed_discard(writer);
    packed_discard(NULL);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_cut_or_spoilt_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_plain_file_is_read_as_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_overwritten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_given_up_leaves_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
