/* SPDX-License-Identifier: Apache-2.0 */
/* gate */
#include "test.h"

#include "base/clock.h"
#include "base/gate.h"

enum { PLACES = 2, LINE = 3 };

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

static enum gate_answer enter(struct gate *gate, struct guest *guest)
{
    guest->waiter.argument = guest;
    return gate_enter(gate, &guest->waiter);
}

static struct gate *full_gate(void)
{
    struct gate *gate = gate_new(PLACES, LINE);
    for (int i = 0; i < PLACES; i++) {
        struct guest first = guest_until(INT64_MAX);
        assert_int_equal(enter(gate, &first), GATE_ENTERED);
        assert_int_equal(first.calls, 0);
    }
    return gate;
}

static void who_leaves_calls_the_next(void **state)
{
    (void)state;
    struct gate *gate = full_gate();
    struct guest a = guest_until(INT64_MAX), b = guest_until(INT64_MAX);
    assert_int_equal(enter(gate, &a), GATE_WAITS);
    assert_int_equal(enter(gate, &b), GATE_WAITS);
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
    assert_int_equal(enter(gate, &c), GATE_WAITS);
    gate_free(gate);
}

static void a_free_place_is_taken_at_once(void **state)
{
    (void)state;
    struct gate *gate = full_gate();
    struct guest a = guest_until(INT64_MAX);
    gate_leave(gate);
    assert_int_equal(enter(gate, &a), GATE_ENTERED);
    assert_int_equal(a.calls, 0);
    gate_free(gate);
}

static void who_waits_too_long_is_turned_away(void **state)
{
    (void)state;
    struct gate *gate = full_gate();
    int64_t now_us = clock_monotonic_us();
    struct guest a = guest_until(now_us), b = guest_until(now_us), c = guest_until(INT64_MAX);
    assert_int_equal(enter(gate, &a), GATE_WAITS);
    assert_int_equal(enter(gate, &b), GATE_WAITS);
    assert_int_equal(enter(gate, &c), GATE_WAITS);
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

static void who_leaves_passes_over_who_waited_too_long(void **state)
{
    (void)state;
    struct gate *gate = full_gate();
    struct guest late = guest_until(clock_monotonic_us()), next = guest_until(INT64_MAX);
    assert_int_equal(enter(gate, &late), GATE_WAITS);
    assert_int_equal(enter(gate, &next), GATE_WAITS);
    gate_leave(gate);
    assert_int_equal(late.calls, 1);
    assert_false(late.waiter.entered);
    assert_int_equal(next.calls, 1);
    assert_true(next.waiter.entered);
    gate_free(gate);
}

static void the_line_has_an_end(void **state)
{
    (void)state;
    struct gate *gate = full_gate();
    struct guest guests[LINE], one_more = guest_until(INT64_MAX);
    for (int i = 0; i < LINE; i++) {
        guests[i] = guest_until(INT64_MAX);
        assert_int_equal(enter(gate, &guests[i]), GATE_WAITS);
    }
    assert_int_equal(enter(gate, &one_more), GATE_FULL);
    assert_int_equal(one_more.calls, 0);
    gate_leave(gate);
    assert_int_equal(enter(gate, &one_more), GATE_WAITS);
    gate_free(gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_leaves_calls_the_next),
        cmocka_unit_test(a_free_place_is_taken_at_once),
        cmocka_unit_test(who_waits_too_long_is_turned_away),
        cmocka_unit_test(who_leaves_passes_over_who_waited_too_long),
        cmocka_unit_test(the_line_has_an_end),
    };
    return RUN(tests);
}
