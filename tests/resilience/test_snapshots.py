# SPDX-License-Identifier: Apache-2.0
"""An answer of several statements is of one moment, whatever is recorded between two of them."""
import threading

from env.wait import wait_for


def test_totals_and_their_parts_are_of_one_moment(make_stack):
    """The second statement of the costs waits for a lock of ours; what we record meanwhile is in neither of them."""
    stack = make_stack(api_workers=1)
    user = stack.new_user()
    user.record("cost", 1, "before")
    recording = stack.postgres.connect()
    recording.autocommit = False
    answers = []
    with recording.cursor() as cursor:
        cursor.execute("LOCK TABLE rollup_user_day IN ACCESS EXCLUSIVE MODE")
        cursor.execute("UPDATE rollup_day SET total = total + 5, events = events + 1 WHERE workspace_id = %s", (user.workspace,))
        asking = threading.Thread(target=lambda: answers.append(user.get("/analytics/costs?group_by=user").json()))
        asking.start()
        wait_for(lambda: stack.postgres.value(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tallygate' AND wait_event_type = 'Lock' "
            "AND query LIKE '%%rollup_user_day%%'", database="postgres", user="postgres"), what="the second statement")
        cursor.execute("INSERT INTO rollup_user_day (workspace_id, day, user_id, type, shard, events, total) "
                       "VALUES (%s, (now() AT TIME ZONE 'UTC')::date, 'meanwhile', 'cost', 0, 1, 5)", (user.workspace,))
        recording.commit()
    asking.join()
    recording.close()
    assert answers[0]["total_cost"] == sum(item["cost"] for item in answers[0]["items"]) == 1
    after = user.get("/analytics/costs?group_by=user").json()
    assert after["total_cost"] == sum(item["cost"] for item in after["items"]) == 6
