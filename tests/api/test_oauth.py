# SPDX-License-Identifier: Apache-2.0
"""OAuth 2: tokens for services, and for those who have a client for it."""
import base64
import urllib.parse

import pytest

from env import clients, tokens
from env.oauth import FORM, INTROSPECT, REVOKE, TOKEN, Service, send
from env.problems import assert_problem
from env.wait import wait_for

@pytest.fixture
def service(stack):
    made = Service(stack)
    yield made
    stack.ctl("service", "remove", made.name)


def assert_error(answer, status, code):
    """RFC 6749 section 5.2."""
    assert answer.status == status, answer
    assert answer.media_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert set(body) == {"error", "error_description", "request_id"}, body
    assert body["error"] == code, body
    allowed = set(map(chr, range(0x20, 0x7f))) - {'"', "\\"}
    assert set(body["error_description"]) <= allowed
    if status == 401:
        assert answer.headers["WWW-Authenticate"].split()[0] in ("Basic", "Bearer")
    return body


def password_grant(stack, user, **more):
    return send(stack, TOKEN, grant_type="password", username=user.email, password=user.password, **more)


# ---- a client that is not ours ----

def test_oauth4webapi(stack, user, service):
    """Discovery, all grants, introspection, revocation and the check of tokens by published keys."""
    found = clients.run(stack, "oauth.mjs", {
        "issuer": stack.url, "audience": "tallygate", "service": {"id": service.id, "secret": service.secret},
        "username": user.email, "password": user.password})
    assert found["service_claims"]["sub"] == found["service_claims"]["client_id"] == service.id
    assert found["service_claims"]["type"] == "service"
    assert found["service_claims"]["name"] == service.name
    assert found["user_claims"]["sub"] == str(user.id)
    told = found["user_introspection"]
    assert (told["active"], told["username"], told["sub"]) == (True, user.email, str(user.id))
    assert {name: told[name] for name in ("jti", "exp", "iat", "iss", "aud")} == {
        name: found["user_claims"][name] for name in ("jti", "exp", "iat", "iss", "aud")}
    assert found["service_introspection"]["name"] == service.name
    assert found["rotated"]
    assert found["refresh_introspection"]["username"] == user.email
    assert found["after_revocation"]["error"] == "invalid_grant"
    assert found["refresh_after_revocation"] == {"active": False}
    assert found["wrong_password"]["error"] == "invalid_grant"
    assert found["wrong_secret"]["status"] == 401
    wait_for(lambda: not service.introspect(found["revoked_token"])["active"], 1, what="the revocation")
    assert service.introspect(found["good_token"])["active"]


def test_metadata(stack):
    answer = stack.client.get("/.well-known/oauth-authorization-server")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    told = answer.json()
    assert told["issuer"] == stack.url
    assert set(told["grant_types_supported"]) == {"client_credentials", "refresh_token", "password"}
    for name, path in (("token", TOKEN), ("revocation", REVOKE), ("introspection", INTROSPECT)):
        assert told[f"{name}_endpoint"] == stack.url + path
        assert stack.client.post(told[f"{name}_endpoint"][len(stack.url):]).status == 415  # it is served
    assert stack.client.get(told["jwks_uri"][len(stack.url):]).status == 200


# ---- POST /token ----

def test_the_password_grant_is_a_login(stack, user):
    answer = password_grant(stack, user, client_id="tallygate")
    assert answer.status == 200, answer
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert "X-Accel-Redirect" not in answer.headers
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)
    listed = stack.new_client(body["access_token"]).get("/auth/sessions").json()["items"]
    assert [item["current"] for item in listed] == [True, False]
    refreshed = send(stack, TOKEN, grant_type="refresh_token", refresh_token=body["refresh_token"]).json()
    assert set(refreshed) == {"access_token", "token_type", "expires_in", "refresh_token"}
    # The same session by the other door.
    again = stack.client.post("/auth/refresh", {"refresh_token": refreshed["refresh_token"]})
    assert again.status == 200
    assert tokens.claims_of(again.json()["access_token"])["sid"] == tokens.claims_of(body["access_token"])["sid"]


def test_passwords_are_hashed_in_their_pool(stack, user):
    """The api pool hands them on, so a flood of them cannot keep it from refreshing."""
    assert password_grant(stack, user).status == 200
    answer = stack.client.post("/api/v1/token", data=urllib.parse.urlencode(
        {"grant_type": "password", "username": user.email, "password": user.password}),
        headers={"Content-Type": FORM, "X-Request-ID": stack.unique("grant")})
    assert answer.status == 200
    for pool in (stack.api, stack.auth):
        line = pool.log_of(answer.headers["X-Request-ID"])
        assert (line["route"], line["status"]) == ("/token", 200)
    assert line["user_id"] == user.id


@pytest.mark.parametrize("form, code", [
    ({}, "invalid_request"),
    ({"grant_type": ""}, "invalid_request"),
    ({"grant_type": "authorization_code", "code": "x"}, "unsupported_grant_type"),
    ({"grant_type": "password"}, "invalid_request"),
    ({"grant_type": "password", "username": "x@example.org"}, "invalid_request"),
    ({"grant_type": "password", "username": "nobody@example.org", "password": "x"}, "invalid_grant"),
    ({"grant_type": "password", "username": "x" * 255, "password": "x"}, "invalid_request"),
    ({"grant_type": "refresh_token"}, "invalid_request"),
    ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
    ({"grant_type": "refresh_token", "refresh_token": "tgr_" + "A" * 70}, "invalid_grant"),
    ({"grant_type": "refresh_token", "refresh_token": "x", "scope": "all"}, "invalid_scope"),
])
def test_what_is_wrong_with_a_grant(stack, form, code):
    assert_error(send(stack, TOKEN, **form), 400, code)


@pytest.mark.parametrize("data", [
    "grant_type=password&grant_type=password", "grant_type=%zz", "grant_type=%00", "grant_type=%ff", "&".join(["a=b"] * 40),
    b"grant_type=x\0"])
def test_malformed_forms(stack, data):
    assert_error(send(stack, TOKEN, data=data), 400, "invalid_request")


def test_limits_and_media_types(stack):
    assert_error(stack.client.post(TOKEN, {"grant_type": "password"}), 415, "invalid_request")
    assert_error(send(stack, TOKEN, data="grant_type=" + "x" * 20000), 413, "invalid_request")
    assert_problem(stack.client.get(TOKEN), 405)


def test_unknown_and_empty_parameters_are_ignored(stack, user):
    """RFC 6749 section 3.2."""
    assert password_grant(stack, user, resource="https://example.org", scope="", client_secret="").status == 200


def test_the_password_grant_can_be_switched_off(make_stack):
    stack = make_stack(password_grant="no")
    user = stack.new_user()
    assert_error(password_grant(stack, user), 400, "unsupported_grant_type")
    told = stack.client.get("/.well-known/oauth-authorization-server").json()
    assert "password" not in told["grant_types_supported"]
    assert user.login().token


# ---- clients ----

def test_clients_that_are_none(stack, service):
    def ask(headers=None, **form):
        return send(stack, TOKEN, headers, grant_type="client_credentials", **form)

    def basic(text):
        return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}

    other = Service(stack)
    assert ask(service.basic).status == 200
    assert ask(client_id=service.id, client_secret=service.secret).status == 200
    # Each byte may come as three.
    escaped = "".join(f"%{byte:02X}" for byte in service.secret.encode())
    assert ask(basic(f"{service.id}:{escaped}")).status == 200
    for refused in (ask(), ask(client_id=service.id), ask(client_id="tallygate"), ask(client_secret=service.secret),
                    ask(client_id=service.id, client_secret=other.secret), ask(basic(f"{service.id}:")),
                    ask(client_id="tallygate", client_secret="x"), ask(basic("x")), ask(basic(":")),
                    ask({"Authorization": "Basic ?"}), ask({"Authorization": "Basic " + "A" * 2000}),
                    ask(basic(f"{service.id}:%zz")), ask(basic(f"{service.id}:{service.secret}\0")),
                    ask(basic(f"{service.name}:{service.secret}"))):
        assert_error(refused, 401, "invalid_client")
    # Two ways at once, and two that do not agree.
    assert_error(ask(service.basic, client_id=service.id, client_secret=service.secret), 400, "invalid_request")
    assert_error(ask(service.basic, client_id=other.id), 400, "invalid_request")
    other.remove()


def test_a_service_has_no_passwords(stack, user, service):
    assert_error(send(stack, TOKEN, service.basic, grant_type="password", username=user.email, password=user.password),
                 400, "unauthorized_client")
    assert_error(send(stack, TOKEN, service.basic, grant_type="refresh_token", refresh_token="x"), 400,
                 "unauthorized_client")


# ---- services ----

def test_the_life_of_a_service(stack, service):
    assert_problem(stack.client.get("/auth/verify"), 401)
    token = service.token()
    for headers in ({"Authorization": f"Bearer {token}"}, {"X-Service-Token": token}):
        answer = stack.client.get("/auth/verify", headers=headers)
        assert answer.status == 200, answer
        told = answer.json()
        assert (told["type"], told["client_id"], told["name"]) == ("service", service.id, service.name)
    old = service.basic
    service.renew()
    assert_error(send(stack, TOKEN, old, grant_type="client_credentials"), 401, "invalid_client")
    assert stack.client.get("/auth/verify", token=token).status == 200
    assert service.name in stack.ctl("service", "list").stdout
    service.remove()
    wait_for(lambda: stack.client.get("/auth/verify", token=token).status == 401, 1, what="the end of its tokens")
    assert_error(send(stack, TOKEN, service.basic, grant_type="client_credentials"), 401, "invalid_client")
    assert service.name not in stack.ctl("service", "list").stdout


def test_what_administrators_get_wrong(stack, service):
    assert stack.ctl("service", "add", service.name).returncode == 1
    assert stack.ctl("service", "renew", "nobody").returncode == 3
    assert stack.ctl("service", "remove", "nobody").returncode == 3
    for name in ("", "Upper", "sp ace", "a" * 65, "ü"):
        assert stack.ctl("service", "add", name).returncode == 2
    assert stack.ctl("service", "forget", "x").returncode == 2


def test_where_a_service_may_go(stack, user, service):
    token = service.token()
    answer = stack.client.get("/auth/profile", token=token)
    assert_problem(answer, 403)
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
    assert_problem(stack.client.post("/analytics/events", {}, token=token), 403)
    # The header is not looked at where no service is served.
    assert_problem(stack.client.get("/auth/profile", headers={"X-Service-Token": token}), 401)
    for wrong in ("x", user.token, token[:-4] + "AAAA"):
        assert_problem(stack.client.get("/auth/verify", headers={"X-Service-Token": wrong}), 403)


def test_no_secret_is_stored_or_logged(stack, service):
    token = service.token()
    service.introspect(token)
    dump = str(stack.postgres.query("SELECT * FROM services"))
    assert service.id in dump and service.secret not in dump
    for path in stack.log_files():
        text = path.read_text(errors="replace")
        assert service.secret not in text and token not in text, path


# ---- revocation and introspection ----

def test_revoking(stack, user, service):
    answer = password_grant(stack, user).json()
    access, refresh = answer["access_token"], answer["refresh_token"]
    # An access token alone: the session stands.
    assert send(stack, REVOKE, token=access, token_type_hint="refresh_token").status == 200
    wait_for(lambda: stack.client.get("/auth/verify", token=access).status == 401, 1, what="the revocation")
    assert not service.introspect(access)["active"]
    claims = tokens.claims_of(access)
    assert stack.postgres.query("SELECT action, detail->>'of' FROM audit_log WHERE subject = %s", f"token:{claims['jti']}") == [
        ("token.revoked", f"session:{claims['sid']}")]
    answer = send(stack, TOKEN, grant_type="refresh_token", refresh_token=refresh).json()
    access = answer["access_token"]
    assert stack.client.get("/auth/verify", token=access).status == 200
    # The refresh token of before is still one of this session.
    assert send(stack, REVOKE, token=refresh).status == 200
    wait_for(lambda: stack.client.get("/auth/verify", token=access).status == 401, 1, what="the revocation")
    assert_error(send(stack, TOKEN, grant_type="refresh_token", refresh_token=answer["refresh_token"]), 400,
                 "invalid_grant")


def test_what_is_no_token_is_revoked_already(stack, user):
    for text in ("x", "tgr_x", "tgr_" + "A" * 70, "a.b.c", tokens.Key().sign({"sub": "1"}), user.token[:-6] + "AAAAAA"):
        assert send(stack, REVOKE, token=text).status == 200
    assert_error(send(stack, REVOKE), 400, "invalid_request")
    assert_error(send(stack, REVOKE, token="x" * 4097), 400, "invalid_request")
    assert user.get("/auth/verify").status == 200


def test_a_client_revokes_its_own_only(stack, user, service):
    other = Service(stack)
    token = service.token()
    refresh = password_grant(stack, user).json()["refresh_token"]
    assert_error(send(stack, REVOKE, other.basic, token=token), 400, "invalid_grant")
    assert_error(send(stack, REVOKE, token=token), 400, "invalid_grant")
    assert_error(send(stack, REVOKE, service.basic, token=user.token), 400, "invalid_grant")
    assert_error(send(stack, REVOKE, service.basic, token=refresh), 400, "invalid_grant")
    assert service.introspect(token)["active"] and service.introspect(refresh)["active"]
    other.remove()


def test_introspection(stack, user, service):
    own = service.token()
    told = service.introspect(own)
    assert told["active"] and told["client_id"] == told["sub"] == service.id and told["type"] == "service"
    answer = send(stack, INTROSPECT, {"Authorization": f"Bearer {own}"}, token=user.token)
    assert answer.json() == service.introspect(user.token)
    assert answer.json()["sid"] == tokens.claims_of(user.token)["sid"]
    refresh = password_grant(stack, user).json()["refresh_token"]
    successor = send(stack, TOKEN, grant_type="refresh_token", refresh_token=refresh).json()["refresh_token"]
    assert service.introspect(successor)["active"]
    assert service.introspect(refresh) == {"active": False}  # it was used
    for text in ("x", "tgr_x", tokens.Key().sign({"sub": "1"}), user.token + "A"):
        assert service.introspect(text) == {"active": False}
    stack.postgres.query("UPDATE users SET is_active = false WHERE id = %s", user.id)
    assert service.introspect(user.token) == service.introspect(successor) == {"active": False}


def test_what_ended_is_not_active_at_once(stack, user, service):
    """A gateway that asks is told without delay."""
    assert service.introspect(user.token)["active"]
    assert user.post("/auth/logout").status == 204
    assert service.introspect(user.token) == {"active": False}


def test_who_may_introspect(stack, user, service):
    assert_error(send(stack, INTROSPECT, token=user.token), 401, "invalid_client")
    assert_error(send(stack, INTROSPECT, token=user.token, client_id="tallygate"), 401, "invalid_client")
    assert_error(send(stack, INTROSPECT, {"Authorization": f"Bearer {user.token}"}, token=user.token), 403,
                 "insufficient_scope")
    assert_error(send(stack, INTROSPECT, {"Authorization": "Bearer x"}, token=user.token), 401, "invalid_client")
    assert_error(send(stack, INTROSPECT, service.basic), 400, "invalid_request")


def test_without_a_database(make_stack):
    stack = make_stack()
    service = Service(stack)
    user = stack.new_user()
    stack.postgres.stop()
    for answer in (password_grant(stack, user), send(stack, TOKEN, service.basic, grant_type="client_credentials"),
                   send(stack, REVOKE, token=user.token), send(stack, INTROSPECT, service.basic, token=user.token)):
        assert_error(answer, 503, "temporarily_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
    stack.up()
    wait_for(lambda: service.introspect(user.token)["active"] if send(stack, INTROSPECT, service.basic, token="x").status
             == 200 else False, 15, what="healing")
