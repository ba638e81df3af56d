# SPDX-License-Identifier: Apache-2.0
"""Workspaces: made, shared, handed over and deleted."""
import concurrent.futures

import pytest

from env.problems import assert_invalid, assert_problem
from env.wait import wait_for
from env.workspaces import Workspace, mailed_token


@pytest.fixture
def shared(user):
    return Workspace(user)


def figures(user, headers=None):
    answer = user.get("/analytics/metrics", headers=headers)
    assert answer.status == 200, answer
    return answer.json()["total_metrics"]


EVENT = {"type": "x", "value": 1, "user_id": "u"}


# ---- having one ----

def test_the_personal_one_is_always_there(user):
    items = user.get("/workspaces").json()["items"]
    assert len(items) == 1
    assert set(items[0]) == {"id", "slug", "name", "personal", "role", "told_types", "created_at"}
    assert (items[0]["personal"], items[0]["role"], items[0]["slug"]) == (True, "owner", None)
    assert items[0]["id"] == user.workspace
    assert user.get(f"/workspaces/{user.workspace}").json() == items[0]
    # It goes with the account, and nobody joins it.
    assert_problem(user.delete(f"/workspaces/{user.workspace}"), 409)
    assert_problem(user.post(f"/workspaces/{user.workspace}/invitations", {"email": "x@example.org", "role": "viewer"}), 409)


def test_making_renaming_and_deleting(stack, user, shared):
    assert [item["id"] for item in user.get("/workspaces").json()["items"]] == [user.workspace, shared.id]
    answer = user.request("PATCH", shared.path, {"name": "Other", "slug": shared.slug + "-2"})
    assert answer.status == 200, answer
    assert (answer.json()["name"], answer.json()["slug"]) == ("Other", shared.slug + "-2")
    assert user.request("PATCH", shared.path, {"slug": None}).json()["slug"] is None
    assert user.delete(shared.path).status == 204
    assert_problem(user.get(shared.path), 404)
    assert [item["id"] for item in user.get("/workspaces").json()["items"]] == [user.workspace]
    actions = stack.postgres.query("SELECT action, actor_id FROM audit_log WHERE subject = %s ORDER BY id", f"workspace:{shared.id}")
    assert actions == [(f"workspace.{what}", user.id) for what in ("created", "changed", "changed", "deleted")]


def test_slugs_are_unique_and_free_again(user, shared):
    assert_problem(user.post("/workspaces", {"name": "x", "slug": shared.slug}), 409)
    other = Workspace(user)
    assert_problem(user.request("PATCH", other.path, {"slug": shared.slug}), 409)
    user.delete(shared.path)
    assert user.request("PATCH", other.path, {"slug": shared.slug}).status == 200


def test_a_slug_that_became_anothers(user, shared):
    """What is remembered by it ends."""
    other = Workspace(user)
    assert user.post("/analytics/events", EVENT, headers=shared.header).status == 201
    assert user.request("PATCH", shared.path, {"slug": None}).status == 200
    assert user.request("PATCH", other.path, {"slug": shared.slug}).status == 200
    wait_for(lambda: figures(user, shared.header) == 0, 1, "the slug's new meaning")
    assert figures(user, {"X-Workspace": str(shared.id)}) == 1


@pytest.mark.parametrize("body, wrong", [
    ({}, {"name": "required"}), ({"name": ""}, {"name": "too_short"}), ({"name": "x" * 101}, {"name": "too_long"}),
    ({"name": "a\nb"}, {"name": "control_character"}), ({"name": "x", "slug": "x"}, {"slug": "too_short"}),
    ({"name": "x", "slug": "x" * 64}, {"slug": "too_long"}), ({"name": "x", "slug": "12"}, {"slug": "format"}),
    ({"name": "x", "slug": "Abc"}, {"slug": "format"}), ({"name": "x", "slug": "a_b"}, {"slug": "format"}),
    ({"name": "x", "role": "owner"}, {"role": "unknown_field"}),
])
def test_what_is_wrong_with_a_new_one(user, body, wrong):
    assert_invalid(user.post("/workspaces", body), **wrong)


def test_a_hundred_at_the_most(stack, user):
    stack.postgres.query("WITH w AS (INSERT INTO workspaces (name) SELECT 'w' FROM generate_series(1, 100) RETURNING id) "
                         "INSERT INTO memberships (workspace_id, user_id, role) SELECT id, %s, 'owner' FROM w", user.id)
    assert_problem(user.post("/workspaces", {"name": "x"}), 409)


# ---- choosing one ----

def test_the_header_chooses(user, shared):
    for header in (shared.slug, str(shared.id)):
        assert user.post("/analytics/events", EVENT, headers={"X-Workspace": header}).status == 201
    assert figures(user, shared.header) == 2
    assert figures(user) == 0
    assert figures(user, {"X-Workspace": str(user.workspace)}) == 0


@pytest.mark.parametrize("header", ["nothing", "0", "999999999999", "9" * 30, "-1", "x" * 500, "1 OR 1=1", "ü", "1.0", b"\xff"])
def test_workspaces_that_are_none(user, header):
    answer = user.get("/analytics/metrics", headers={"X-Workspace": header if isinstance(header, bytes) else header.encode()})
    assert_problem(answer, 404)
    assert_problem(user.post("/analytics/events", EVENT, headers={"X-Workspace": "nothing"}), 404)


def test_anothers_workspace_is_none(stack, user, shared):
    stranger = stack.new_user()
    for header in (shared.slug, str(shared.id), str(user.workspace)):
        assert_problem(stranger.get("/analytics/metrics", headers={"X-Workspace": header}), 404)
        assert_problem(stranger.post("/analytics/events", EVENT, headers={"X-Workspace": header}), 404)
    for path in (shared.path, f"{shared.path}/members", f"{shared.path}/invitations"):
        assert_problem(stranger.get(path), 404)
    assert figures(user, shared.header) == 0


# ---- members ----

def test_an_invitation_and_what_comes_of_it(stack, user, shared):
    guest = stack.new_user()
    answer = user.post(f"{shared.path}/invitations", {"email": guest.email, "role": "member"})
    assert answer.status == 201, answer
    invitation = answer.json()
    assert set(invitation) == {"id", "email", "role", "created_at", "expires_at"}
    assert user.get(f"{shared.path}/invitations").json()["items"] == [invitation]
    token = mailed_token(stack, guest.email, "You are invited")
    assert_problem(guest.get("/analytics/metrics", headers=shared.header), 404)
    # Only the account of that address, and once.
    assert_invalid(user.post("/workspaces/accept", {"token": token}), token="wrong")
    answer = guest.post("/workspaces/accept", {"token": token})
    assert (answer.status, answer.json()) == (200, {"workspace_id": shared.id, "role": "member"})
    assert_invalid(guest.post("/workspaces/accept", {"token": token}), token="wrong")
    assert guest.post("/analytics/events", EVENT, headers=shared.header).status == 201
    assert figures(user, shared.header) == 1
    assert guest.get("/users/me").json()["email_verified"] is True
    assert shared.roles() == {user.id: "owner", guest.id: "member"}
    assert user.get(f"{shared.path}/invitations").json()["items"] == []
    assert_problem(user.post(f"{shared.path}/invitations", {"email": guest.email.upper(), "role": "viewer"}), 409)


def test_invitations_end(stack, user, shared):
    guest = stack.new_user()
    token = shared.invite(guest, "viewer")
    assert_problem(user.post(f"{shared.path}/invitations", {"email": guest.email, "role": "admin"}), 409)  # within a minute
    stack.postgres.query("UPDATE invitations SET created_at = created_at - interval '1 hour', expires_at = now() WHERE workspace_id = %s",
                         shared.id)
    assert_invalid(guest.post("/workspaces/accept", {"token": token}), token="wrong")
    user.post(f"{shared.path}/invitations", {"email": guest.email, "role": "admin"})
    second = mailed_token(stack, guest.email, "You are invited", 2)
    [invitation] = user.get(f"{shared.path}/invitations").json()["items"]
    assert invitation["role"] == "admin"
    assert user.delete(f"{shared.path}/invitations/{invitation['id']}").status == 204
    assert_problem(user.delete(f"{shared.path}/invitations/{invitation['id']}"), 404)
    assert_invalid(guest.post("/workspaces/accept", {"token": second}), token="wrong")
    assert shared.roles() == {user.id: "owner"}


def test_five_invitations_an_hour(stack, user, shared):
    guest = stack.new_user()
    other = Workspace(user)
    for n in range(5):
        space = (shared, other)[n % 2]
        answer = user.post(f"{space.path}/invitations", {"email": guest.email, "role": "viewer"})
        assert answer.status == 201, answer
        user.delete(f"{space.path}/invitations/{answer.json()['id']}")
    assert_problem(user.post(f"{shared.path}/invitations", {"email": guest.email.upper(), "role": "viewer"}), 409)
    assert Workspace(guest).invite(user, "viewer")


def test_an_invitation_is_as_good_as_who_made_it(stack, user, shared):
    manager, guest = shared.add(stack.new_user(), "admin"), stack.new_user()
    assert manager.post(f"{shared.path}/invitations", {"email": guest.email, "role": "admin"}, headers=shared.header).status == 201
    token = mailed_token(stack, guest.email, "You are invited")
    assert user.request("PATCH", f"{shared.path}/members/{manager.id}", {"role": "member"}).status == 204
    assert_invalid(guest.post("/workspaces/accept", {"token": token}), token="wrong")
    assert user.request("PATCH", f"{shared.path}/members/{manager.id}", {"role": "admin"}).status == 204
    shared.add(guest, "viewer")
    assert_invalid(guest.post("/workspaces/accept", {"token": token}), token="wrong")  # who is in it is what they are
    assert shared.roles()[guest.id] == "viewer"


def test_only_invitations_that_wait_count(stack, user, shared):
    stack.postgres.query(
        "INSERT INTO invitations (workspace_id, email, role, hash, invited_by, created_at, expires_at) SELECT %s, 'x' || n || '@example.org', "
        "'viewer', sha256(random()::text::bytea), %s, now() - interval '8 days', now() + n * interval '1 day' FROM generate_series(-2, 97) n",
        shared.id, user.id)
    invite = lambda address: user.post(f"{shared.path}/invitations", {"email": address, "role": "viewer"}).status
    assert [invite("x50@example.org"), invite("a@example.org"), invite("b@example.org"), invite("c@example.org")] == [201, 201, 201, 201]
    assert [invite("d@example.org"), invite("x51@example.org")] == [409, 201]


def test_roles_count_within_a_second(stack, user, shared):
    guest = shared.join(stack.new_user(), "viewer")
    assert figures(guest, shared.header) == 0
    assert_problem(guest.post("/analytics/events", EVENT, headers=shared.header), 403)
    path = f"{shared.path}/members/{guest.id}"
    assert user.request("PATCH", path, {"role": "member"}).status == 204
    wait_for(lambda: guest.post("/analytics/events", EVENT, headers=shared.header).status == 201, 1, "the new role")
    assert user.request("PATCH", path, {"role": "viewer"}).status == 204
    wait_for(lambda: guest.post("/analytics/events", EVENT, headers=shared.header).status == 403, 1, "the old role")
    assert user.delete(path).status == 204
    wait_for(lambda: guest.get("/analytics/metrics", headers=shared.header).status == 404, 1, "the end of the membership")
    shared.add(guest, "member")
    wait_for(lambda: guest.get("/analytics/metrics", headers=shared.header).status == 200, 1, "the new membership")


def test_members_manage_themselves(stack, user, shared):
    admin, viewer = shared.add(stack.new_user(), "admin"), shared.add(stack.new_user(), "viewer")
    path = f"{shared.path}/members"
    assert_problem(viewer.delete(f"{path}/{admin.id}"), 403)
    assert_problem(viewer.request("PATCH", f"{path}/{viewer.id}", {"role": "admin"}), 403)
    assert_problem(admin.delete(f"{path}/{user.id}"), 409)  # the owner stays
    assert_problem(admin.request("PATCH", f"{path}/{user.id}", {"role": "viewer"}), 409)
    assert_problem(user.delete(f"{path}/{user.id}"), 409)
    for role in ("owner", "root", ""):
        assert user.request("PATCH", f"{path}/{viewer.id}", {"role": role}).status == 422
    assert_problem(user.request("PATCH", f"{path}/999999999", {"role": "viewer"}), 404)
    assert viewer.delete(f"{path}/{viewer.id}").status == 204
    assert admin.delete(f"{path}/{admin.id}").status == 204
    assert shared.roles() == {user.id: "owner"}


def test_handing_over(stack, user, shared):
    other = shared.add(stack.new_user(), "viewer")
    stranger = stack.new_user()
    for nobody in (user, stranger):
        assert_invalid(user.post(f"{shared.path}/transfer", {"user_id": nobody.id}), user_id="unknown")
    assert_problem(other.post(f"{shared.path}/transfer", {"user_id": other.id}), 403)
    assert user.post(f"{shared.path}/transfer", {"user_id": other.id}).status == 204
    assert shared.roles() == {user.id: "admin", other.id: "owner"}
    assert_problem(user.delete(shared.path), 403)  # at once: what cannot be undone asks the database
    assert other.delete(shared.path).status == 204


def test_handing_over_to_who_leaves(stack, user, shared):
    other = shared.add(stack.new_user(), "member")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with stack.postgres.held("SELECT FROM memberships WHERE user_id = %s FOR UPDATE", other.id, until=2) as wait:
            given = pool.submit(user.post, f"{shared.path}/transfer", {"user_id": other.id})
            wait(1)
            left = pool.submit(other.delete, f"/users/{other.id}")
        assert given.result().status == 204
        assert_problem(left.result(), 409)
    assert shared.roles() == {user.id: "admin", other.id: "owner"}
    stack.postgres.query("UPDATE users SET is_active = false WHERE id = %s", user.id)
    assert_invalid(other.post(f"{shared.path}/transfer", {"user_id": user.id}), user_id="unknown")


def test_there_is_always_one_owner(stack, user, shared):
    others = [shared.add(stack.new_user(), "member") for _ in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda other: user.post(f"{shared.path}/transfer", {"user_id": other.id}).status, others))
    assert answers.count(204) == 1, answers
    roles = stack.postgres.query("SELECT role, count(*) FROM memberships WHERE workspace_id = %s GROUP BY 1 ORDER BY 1", shared.id)
    assert roles == [("admin", 1), ("member", 5), ("owner", 1)]


def test_an_account_that_owns_what_others_use_stays(stack, user, shared):
    other = shared.add(stack.new_user(), "member")
    assert_problem(user.delete(f"/users/{user.id}"), 409)
    assert user.get("/auth/verify").status == 200
    assert user.get(f"/workspaces/{user.workspace}").status == 200
    assert user.post(f"{shared.path}/transfer", {"user_id": other.id}).status == 204
    assert user.delete(f"/users/{user.id}").status == 204
    assert other.get(shared.path).json()["role"] == "owner"
    assert other.delete(f"/users/{other.id}").status == 204  # nobody else is in it: it is closed
    assert stack.postgres.value("SELECT closed_at IS NOT NULL FROM workspaces WHERE id = %s", shared.id) is True


def test_a_deleted_workspace_is_closed_to_all(stack, user, shared):
    guest = shared.add(stack.new_user(), "member")
    for each in (user, guest):
        assert each.post("/analytics/events", EVENT, headers=shared.header).status == 201
    assert user.delete(shared.path).status == 204
    for each in (user, guest):
        wait_for(lambda each=each: each.get("/analytics/metrics", headers={"X-Workspace": str(shared.id)}).status == 404 and
                 each.post("/analytics/events", EVENT, headers={"X-Workspace": str(shared.id)}).status == 404, 1, "the end")
