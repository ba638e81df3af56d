/* SPDX-License-Identifier: Apache-2.0 */
/* gate */
#include "test.h"

#include "base/clock.h"
#include "base/gate.h"

enum { PLACES = 2 };

struct guest {
    struct gate_waiter waiter;
    int calls;
};

static void note_call(void *argument)
{
    struct guest *guest = argument;
    guest->calls++;
}

static struct guest guest_until(int64_t deadline_us)
{
    return (struct guest){.waiter = {.deadline_us = deadline_us, .wake = note_call}};
}

static bool enter(struct gate *gate, struct guest *guest)
{
    guest->waiter.argument = guest;
    return gate_enter(gate, &guest->waiter);
}

static struct gate *full_gate(void)
{
    struct gate *gate = gate_new(PLACES);
    for (int i = 0; i < PLACES; i++) {
        struct guest first = guest_until(INT64_MAX);
        assert_true(enter(gate, &first));
        assert_int_equal(first.calls, 0);
    }
    return gate;
}

static void who_leaves_calls_the_next(void **state)
{
    (void)state;
    struct gate *gate = full_gate();
    struct guest a = guest_until(INT64_MAX), b = guest_until(INT64_MAX);
    assert_false(enter(gate, &a));
    assert_false(enter(gate, &b));
    gate_leave(gate);
    assert_int_equal(a.calls, 1);
    assert_true(a.waiter.entered);
    assert_int_equal(b.calls, 0);
    gate_leave(gate);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 1);
    assert_true(b.waiter.entered);
    /* Both have the places of those who left. */
    struct guest c = guest_until(INT64_MAX);
    assert_false(enter(gate, &c));
    gate_free(gate);
}

static void a_free_place_is_taken_at_once(void **state)
{
    (void)state;
    struct gate *gate = full_gate();
    struct guest a = guest_until(INT64_MAX);
    gate_leave(gate);
    assert_true(enter(gate, &a));
    assert_int_equal(a.calls, 0);
    gate_free(gate);
}

static void who_waits_too_long_is_turned_away(void **state)
{
    (void)state;
    struct gate *gate = full_gate();
    int64_t now_us = clock_monotonic_us();
    struct guest a = guest_until(now_us), b = guest_until(now_us), c = guest_until(INT64_MAX);
    assert_false(enter(gate, &a));
    assert_false(enter(gate, &b));
    assert_false(enter(gate, &c));
    gate_expire(gate);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 1);
    assert_false(a.waiter.entered || b.waiter.entered);
    assert_int_equal(c.calls, 0);
    /* They took no place with them, and the line goes on behind them. */
    gate_leave(gate);
    assert_int_equal(c.calls, 1);
    assert_true(c.waiter.entered);
    gate_expire(gate);
    assert_int_equal(a.calls + b.calls + c.calls, 3);
    gate_free(gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_leaves_calls_the_next),
        cmocka_unit_test(a_free_place_is_taken_at_once),
        cmocka_unit_test(who_waits_too_long_is_turned_away),
    };
    return RUN(tests);
}
