# SPDX-License-Identifier: Apache-2.0
"""Every route with every role, another tenant's member, and no one: who gets in, and nobody else.

WHO is written by hand and compared with what the routes do; a route that is missing in it fails the test. What
a role or a scope may is said once more here, too, so that neither can change unnoticed.
"""
import pytest

from env.oauth import Service
from env.workspaces import Workspace, make_key

READ, WRITE, MANAGE, OWN = 1, 2, 4, 8
ROLES = {"viewer": READ, "member": READ | WRITE, "admin": READ | WRITE | MANAGE, "owner": READ | WRITE | MANAGE | OWN}
SCOPES = {"analytics:read": READ, "events:write": WRITE, "admin": READ | WRITE | MANAGE}

PUBLIC, PERSON, PERSON_OR_SERVICE, ADMINISTRATOR, ADMINISTRATOR_OR_SERVICE = (
    "public", "person", "person or service", "administrator", "administrator or service")


def members(needs, keys=None):
    """`keys`: what a key needs, if that is something else; False: no key may."""
    return ("members", needs, needs if keys is None else keys)


WHO = {
    "POST /auth/register": PUBLIC,
    "POST /auth/login": PUBLIC,
    "POST /auth/login/mfa": PUBLIC,
    "POST /auth/refresh": PUBLIC,
    "POST /auth/logout": PERSON,
    "GET /auth/sessions": PERSON,
    "DELETE /auth/sessions/{id:text}": PERSON,
    "GET /auth/verify": PERSON_OR_SERVICE,
    "GET /auth/profile": PERSON,
    "PUT /auth/profile": PERSON,
    "DELETE /auth/users/{id:int}": ADMINISTRATOR,
    "POST /auth/password/strength": PUBLIC,
    "POST /auth/password/forgot": PUBLIC,
    "POST /auth/password/reset": PUBLIC,
    "POST /auth/address/verification": PERSON,
    "POST /auth/address/verify": PUBLIC,
    "POST /auth/address/confirm": PUBLIC,
    "GET /auth/mfa": PERSON,
    "POST /auth/mfa/totp": PERSON,
    "POST /auth/mfa/totp/confirm": PERSON,
    "POST /auth/mfa/recovery-codes": PERSON,
    "POST /auth/mfa/disable": PERSON,
    "GET /auth/api-keys": members(READ),
    "POST /auth/api-keys": members(READ, keys=MANAGE),
    "DELETE /auth/api-keys/{id:text}": members(READ, keys=MANAGE),
    "GET /users": ADMINISTRATOR,
    "GET /users/me": PERSON,
    "PATCH /users/me": PERSON,
    "GET /users/{id:int}": ADMINISTRATOR_OR_SERVICE,
    "PATCH /users/{id:int}": ADMINISTRATOR,
    "DELETE /users/{id:int}": ADMINISTRATOR,
    "DELETE /users/{id:int}/mfa": ADMINISTRATOR,
    "GET /admin/audit": ADMINISTRATOR,
    "GET /admin/jobs": ADMINISTRATOR,
    "POST /admin/jobs": ADMINISTRATOR,
    "GET /admin/jobs/{id:int}": ADMINISTRATOR,
    "DELETE /admin/jobs/{id:int}": ADMINISTRATOR,
    "POST /admin/jobs/{id:int}/retry": ADMINISTRATOR,
    "GET /admin/schedules": ADMINISTRATOR,
    "GET /workspaces": PERSON,
    "POST /workspaces": PERSON,
    "POST /workspaces/accept": PERSON,
    "GET /workspaces/{id:int}": members(READ, keys=False),
    "PATCH /workspaces/{id:int}": members(MANAGE, keys=False),
    "POST /workspaces/{id:int}/transfer": members(OWN, keys=False),
    "GET /workspaces/{id:int}/members": members(READ),
    "PATCH /workspaces/{id:int}/members/{user_id:int}": members(MANAGE),
    "DELETE /workspaces/{id:int}/members/{user_id:int}": members(MANAGE),
    "GET /workspaces/{id:int}/invitations": members(MANAGE),
    "POST /workspaces/{id:int}/invitations": members(MANAGE),
    "DELETE /workspaces/{id:int}/invitations/{invitation_id:int}": members(MANAGE),
    "POST /analytics/events": members(WRITE),
    "POST /analytics/metrics/batch": members(WRITE),
    "GET /analytics/metrics": members(READ),
    "GET /analytics/summary": members(READ),
    "GET /analytics/events/by-type": members(READ),
    "GET /analytics/query": members(READ),
    "GET /analytics/usage/{user_id:text}": members(READ),
    "GET /analytics/costs": members(READ),
    "GET /analytics/reports/daily": members(READ),
    "GET /analytics/events/date-range": members(READ),
    "GET /analytics/users/{user_id:text}/events": members(READ),
    "GET /analytics/export": members(READ),
    "GET /reports": members(READ),
    "POST /reports": members(WRITE),
    "GET /reports/{id:text}": members(READ),
    "PATCH /reports/{id:text}": members(WRITE),
    "DELETE /reports/{id:text}": members(WRITE),
    "POST /reports/{id:text}/run": members(WRITE),
    "GET /reports/{id:text}/runs": members(READ),
    "GET /reports/{id:text}/runs/{run_id:text}": members(READ),
    "GET /reports/{id:text}/runs/{run_id:text}/download": members(READ),
    "GET /webhooks": members(MANAGE),
    "POST /webhooks": members(MANAGE),
    "GET /webhooks/{id:text}": members(MANAGE),
    "PATCH /webhooks/{id:text}": members(MANAGE),
    "DELETE /webhooks/{id:text}": members(MANAGE),
    "POST /webhooks/{id:text}/secret": members(MANAGE),
    "POST /webhooks/{id:text}/test": members(MANAGE),
    "GET /webhooks/{id:text}/deliveries": members(MANAGE),
    "GET /webhooks/{id:text}/deliveries/{delivery_id:int}": members(MANAGE),
    "POST /webhooks/{id:text}/deliveries/{delivery_id:int}/redeliver": members(MANAGE),
    "POST /token": PUBLIC,
    "POST /oauth/revoke": PUBLIC,
    "POST /oauth/introspect": PUBLIC,
    "GET /.well-known/oauth-authorization-server": PUBLIC,
    "GET /.well-known/jwks.json": PUBLIC,
    "GET /health": PUBLIC,
    "GET /health/live": PUBLIC,
    "GET /health/ready": PUBLIC,
    "DELETE /workspaces/{id:int}": members(OWN, keys=False),  # the last one, as it leaves nothing to try
}
ORDER = list(WHO)


class Scene:
    """One workspace, and everybody who may or may not be in it."""

    def __init__(self, stack):
        self.stack = stack
        owner = stack.new_user()
        self.workspace = Workspace(owner)
        others = {role: self.workspace.add(stack.new_user(), role) for role in ROLES if role != "owner"}
        self.people = {**others, "owner": owner, "stranger": stack.new_user()}
        self.administrator = stack.new_user()
        assert stack.ctl("user", "role", self.administrator.email, "admin").returncode == 0
        self.keys = {scope: make_key(owner, [scope], headers=self.workspace.header)["key"] for scope in SCOPES}
        self.foreign_key = make_key(self.people["stranger"], ["admin"])["key"]
        self.service = Service(stack)

    def path(self, pattern):
        workspace = pattern.startswith("/workspaces/{")
        path = pattern.replace("{id:int}", str(self.workspace.id) if workspace else "999999999")
        path = path.replace("{user_id:int}", "999999999").replace("{invitation_id:int}", "999999999").replace("{delivery_id:int}", "999999999")
        return path.replace("{user_id:text}", "u").replace("{id:text}", "s")

    def callers(self):
        """(name, token, permissions in the workspace)"""
        yield "nobody", None, 0
        for name, person in self.people.items():
            yield name, person.login().token, ROLES.get(name, 0)
        yield "administrator", self.administrator.login().token, 0
        for scope, key in self.keys.items():
            yield f"key {scope}", key, SCOPES[scope]
        yield "foreign key", self.foreign_key, 0
        yield "service", self.service.token(), 0

    def let_in(self, route, token):
        method, pattern = route.split()
        header = {} if pattern.startswith("/workspaces") else self.workspace.header
        body = {} if method in ("POST", "PUT", "PATCH") else None
        answer = self.stack.client.request(method, self.path(pattern), body, token=token, headers=header)
        assert answer.status < 500, (route, answer)
        no_workspace = answer.status == 404 and "no such workspace" in answer.text
        return not (answer.status in (401, 403) or no_workspace), answer


def expected(who, name, may):
    person = name in ("viewer", "member", "admin", "owner", "stranger", "administrator")
    if who == PUBLIC:
        return True
    if who in (PERSON, PERSON_OR_SERVICE, ADMINISTRATOR, ADMINISTRATOR_OR_SERVICE):
        allowed = person if "person" in who else name == "administrator"
        return allowed or (name == "service" and "service" in who)
    _, needs, keys = who
    if "key" in name:
        return keys is not False and may & keys == keys
    return may & needs == needs and name != "service"


@pytest.fixture(scope="module")
def scene(make_stack):
    made = Scene(make_stack())
    yield made


def test_who_is_known_of_every_route(stack):
    listed = [line for line in stack.program("tallygate-fcgi", "--list-routes").stdout.split("\n") if line]
    assert sorted(listed) == sorted(WHO)


@pytest.mark.parametrize("route", ORDER)
def test_everybody_on(scene, route):
    wrong = []
    for name, token, may in scene.callers():
        if route.startswith("DELETE /workspaces/{id:int}/members") and may & READ:
            continue  # everybody may leave: see test_workspaces.py
        let_in, answer = scene.let_in(route, token)
        if let_in != expected(WHO[route], name, may):
            wrong.append((name, "got in" if let_in else "was refused", answer))
        if name == "nobody" and WHO[route] != PUBLIC:
            assert answer.status == 401, answer
    assert not wrong, wrong
