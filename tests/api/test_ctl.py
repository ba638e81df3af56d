# SPDX-License-Identifier: Apache-2.0
"""tallygatectl: what it does is what the API does, and leaves the same traces."""
import json
import os
import pty
import subprocess
import termios
import time

import pytest

from env.problems import assert_problem
from env.wait import BUILD, TOP, wait_for

PASSWORD = "an engine of brass"


@pytest.fixture(scope="module")
def stack(make_stack):
    return make_stack(password_min_score=2)


def found(stack, *arguments, **more):
    done = stack.ctl("--json", *arguments, **more)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def actions(stack, user_id):
    return stack.postgres.query("SELECT action, actor_id FROM audit_log WHERE subject = %s AND action <> 'session.login_failed' ORDER BY id",
                                f"user:{user_id}")


# ---- accounts ----

def test_the_first_administrator(make_stack):
    stack = make_stack()
    done = stack.ctl("setup", "root@example.org", given=PASSWORD + "\n")
    assert done.returncode == 0 and "role            admin" in done.stdout, done
    # The account and its role are there together, or neither: one transaction wrote both entries.
    assert stack.postgres.query("SELECT count(*), count(DISTINCT xmin::text) FROM audit_log WHERE subject LIKE 'user:%'") == [(2, 1)]
    done = stack.ctl("setup", "other@example.org", given=PASSWORD + "\n")
    assert done.returncode == 1 and "there is an administrator already" in done.stderr
    answer = stack.client.post("/auth/login", {"email": "root@example.org", "password": PASSWORD})
    assert answer.status == 200
    assert stack.new_client(answer.json()["access_token"]).get("/users").status == 200


def test_an_account_and_its_life(stack):
    email = f"{stack.unique('ctl')}@example.org"
    made = found(stack, "user", "add", email, "--full-name", "Ada", given=PASSWORD + "\n")
    assert (made["email"], made["full_name"], made["role"], made["is_active"]) == (email, "Ada", "user", True)
    who = str(made["id"])
    answer = stack.client.post("/auth/login", {"email": email, "password": PASSWORD})
    assert answer.status == 200
    client = stack.new_client(answer.json()["access_token"])
    [session] = found(stack, "user", "sessions", email)["items"]
    assert session["address"] == "127.0.0.1"
    assert found(stack, "user", "show", who) == found(stack, "user", "show", email.upper()) == made

    assert stack.ctl("user", "passwd", who, given="quite another 77 sentence\n").stdout == f"{who} has a new password, and no session any more\n"
    wait_for(lambda: client.get("/auth/verify").status == 401, 1, "the end of the session")
    assert_problem(stack.client.post("/auth/login", {"email": email, "password": PASSWORD}), 401)
    answer = stack.client.post("/auth/login", {"email": email, "password": "quite another 77 sentence"})
    client = stack.new_client(answer.json()["access_token"])
    assert stack.ctl("user", "logout", email).returncode == 0
    wait_for(lambda: client.get("/auth/verify").status == 401, 1, "the end of the session")

    assert stack.ctl("user", "disable", email).stdout == f"{email} is switched off\n"
    assert_problem(stack.client.post("/auth/login", {"email": email, "password": "quite another 77 sentence"}), 401)
    assert email in stack.ctl("user", "list", "--inactive").stdout
    done = stack.ctl("user", "passwd", email, given=PASSWORD)
    assert done.returncode == 1 and "switched off" in done.stderr
    assert stack.ctl("user", "enable", email).returncode == 0
    assert stack.client.post("/auth/login", {"email": email, "password": "quite another 77 sentence"}).status == 200
    assert stack.ctl("user", "delete", email).stdout == f"{email} is deleted\n"
    assert stack.ctl("user", "show", email).returncode == 3
    # Nobody had logged in to do any of it, and the owner was told.
    assert actions(stack, who) == [(action, None) for action in (
        "user.registered", "user.profile_changed", "session.logged_out", "user.changed", "user.changed", "user.deleted")]
    assert stack.postgres.value("SELECT count(*) FROM outbox WHERE payload->>'to' = %s AND payload->>'template' = 'password'", email) == 1


def test_the_list(stack):
    word = stack.unique("many")
    emails = [f"{word}-{n}@example.org" for n in range(3)]
    for email in emails:
        stack.new_user(email=email, full_name="a\u00e4")
    assert [item["email"] for item in found(stack, "user", "list", "--search", word)["items"]] == emails
    lines = stack.ctl("user", "list", "--search", word).stdout.splitlines()
    assert lines[0].split()[:2] == ["id", "email"] and len(lines) == 4
    assert len({line.index("user") for line in lines[1:]}) == 1, "columns stand below one another"
    assert found(stack, "user", "list", "--search", "nobody" + word) == {"items": []}
    # More than a page of the API has.
    stack.postgres.query("INSERT INTO users (email, password_hash) SELECT %s || n || '@example.org', '' FROM generate_series(1, 1100) n", word)
    assert len(found(stack, "user", "list", "--search", word)["items"]) == 1103
    stack.postgres.query("DELETE FROM users WHERE password_hash = ''")


@pytest.mark.parametrize("arguments, given, code, words", [
    (["user", "add", "nobody"], PASSWORD, 1, "email: must be an e-mail address"),
    (["user", "add", "new@example.org"], "short", 1, "password: must have at least 8 bytes"),
    (["user", "add", "new@example.org"], "password1", 1, "password:"),
    (["user", "add", "new@example.org"], "", 1, "standard input has no line"),
    (["user", "add", "new@example.org"], "x" * 3000, 1, "too long"),
    (["user", "add"], PASSWORD, 2, "usage:"),
    (["user", "add", "new@example.org", "--password", PASSWORD], "", 2, "unrecognized option"),
    (["user", "list", "--role", "owner"], "", 1, "role: must be user or admin"),
    (["user", "show", "0"], "", 3, "there is no account 0"),
    (["user", "show", "99999999999999999999"], "", 3, "there is no account"),
    (["user", "show", "' OR 1=1"], "", 3, "there is no account"),
    (["user"], "", 2, "usage:"),
    (["audit", "--limit", "1001"], "", 1, "limit:"),
    (["audit", "--since", "yesterday"], "", 1, "start:"),
    (["setup"], "", 2, "usage:"),
    (["config"], "", 2, "usage:"),
    (["nothing"], "", 2, "there is no command nothing"),
])
def test_what_is_wrong(stack, arguments, given, code, words):
    done = stack.ctl(*arguments, given=given)
    assert done.returncode == code and words in done.stderr and done.stdout == "", done


def test_a_password_at_a_terminal_is_not_shown(stack):
    email = f"{stack.unique('ctl')}@example.org"
    leader, follower = pty.openpty()
    process = subprocess.Popen([str(BUILD / "tallygatectl"), "--config", str(stack.config), "user", "add", email],
                               stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr.read(len("Password: ")) == "Password: "
    os.write(leader, f"{PASSWORD}\n".encode())
    assert process.stderr.read(len("\nPassword again: ")) == "\nPassword again: "
    os.write(leader, f"{PASSWORD}\n".encode())
    output, _ = process.communicate(timeout=60)
    os.set_blocking(leader, False)
    with pytest.raises(BlockingIOError):  # nothing came back from the terminal
        os.read(leader, 1000)
    os.close(follower)
    os.close(leader)
    assert process.returncode == 0 and email in output
    assert stack.client.post("/auth/login", {"email": email, "password": PASSWORD}).status == 200


def test_a_name_does_nothing_to_the_terminal(stack):
    word = stack.unique("c1")
    stack.new_user(email=f"{word}@example.org", username="a\u009b31mb\u00e4")
    text = stack.ctl("user", "list", "--search", word).stdout
    assert "a??31mb\u00e4" in text and "\x1b" not in text and "\u009b" not in text


def test_an_interrupt_leaves_the_terminal_as_it_was(stack):
    leader, follower = pty.openpty()
    before = termios.tcgetattr(follower)
    process = subprocess.Popen([str(BUILD / "tallygatectl"), "--config", str(stack.config), "user", "add", "x@example.org"],
                               stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr.read(len("Password: ")) == "Password: "
    assert not termios.tcgetattr(follower)[3] & termios.ECHO
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == -15
    assert termios.tcgetattr(follower) == before
    os.close(leader)
    os.close(follower)


def test_the_last_administrator_stays(make_stack):
    stack = make_stack()
    user = stack.new_user()
    assert stack.ctl("user", "role", user.email, "admin").returncode == 0
    for arguments in (("role", user.email, "user"), ("disable", user.email), ("delete", user.email)):
        done = stack.ctl("user", *arguments)
        assert done.returncode == 1 and "last administrator" in done.stderr, done


# ---- audit, settings, doctor ----

def test_the_audit_log(stack):
    user = stack.new_user()
    user.login()
    entries = found(stack, "audit", "--subject", f"user:{user.id}")["items"]
    assert [entry["action"] for entry in entries] == ["user.registered"]
    assert "user.registered" in stack.ctl("audit", "--action", "user.registered", "--limit", "1").stdout
    assert found(stack, "audit", "--until", "2020-01-01T00:00:00Z")["items"] == []
    assert [entry["action"] for entry in found(stack, "audit", "--actor", str(user.id))["items"]] == ["session.opened"]


def test_the_settings(stack, tmp_path):
    assert stack.ctl("config", "check").stdout == "the settings are fine\n"
    shown = found(stack, "config", "show")
    assert shown["database_url"] == "(hidden)" and shown["bcrypt_cost"] == 4 and shown["password_grant"] is True
    assert stack.ctl("config", "show").stdout == stack.program("tallygate-fcgi", "--show-config", "--config", str(stack.config)).stdout
    wrong = tmp_path / "tallygate.conf"
    for text, words in (("bcrypt_cost = 3\n", "bcrypt_cost"), ("secret_key_file = /nowhere\n", "/nowhere"), ("redis_url = http://x\n", "redis_url"),
                        (f"secret_key_file = {stack.dir}/etc/secret.key\nmigration_url = x y\n", "migration_url")):
        wrong.write_text(text if "secret_key_file" in text else f"secret_key_file = {stack.dir}/etc/secret.key\n{text}")
        done = stack.ctl("config", "check", config=wrong)
        assert done.returncode == 1 and words in done.stderr, done


def doctor(stack, *more, **kinds):
    done = stack.ctl("--json", "doctor", "--sockets", f"{stack.dir}/run", "--certificate", f"{stack.dir}/tls/cert.pem", *more, **kinds)
    return done.returncode, {item["check"]: (item["state"], item["advice"]) for item in json.loads(done.stdout)["items"]}


def test_a_doctor_finds_nothing_wrong(make_stack, tmp_path):
    stack = make_stack(backup_dir=str(tmp_path))
    stack.new_user()
    made = tmp_path / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    made.mkdir()
    (made / "manifest.json").write_text(json.dumps({"schema": 10, "rows": {}, "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}))
    # One of a clock that was wrong, and what is none, count for nothing.
    (tmp_path / "20991231T000000Z").mkdir()
    code, told = doctor(stack)
    assert code == 0, told
    assert {name: state for name, (state, _) in told.items() if name != "disk"} == dict.fromkeys((
        "secret", "database", "schema", "role", "owner", "clock", "keys", "partitions", "mail", "backup", "redis", "pools", "certificate"), "ok")
    text = stack.ctl("doctor", "--sockets", f"{stack.dir}/run", "--certificate", f"{stack.dir}/tls/cert.pem").stdout
    assert "ok       database     it answers" in text


def test_a_doctor_finds_what_is_wrong(make_stack, tmp_path):
    (tmp_path / "20200101T000000Z").mkdir()
    stack = make_stack(backup_dir=str(tmp_path))
    stack.postgres.query("UPDATE outbox SET created_at = now() - interval '2 hours'")
    stack.postgres.query("CREATE TABLE events_2001_01 (LIKE events)")
    stack.redis.stop()
    stack.api.stop()
    (tmp_path / "cert.pem").write_text("nothing of the kind")
    code, told = doctor(stack, "--certificate", str(tmp_path / "cert.pem"))
    assert code == 1
    assert {name for name, (state, _) in told.items() if state == "fault"} == {"pools", "certificate"}
    assert [told[name][0] for name in ("redis", "backup", "partitions")] == ["warning"] * 3
    assert all(advice for state, advice in told.values() if state != "ok")
    # Another master secret, and the owner as the pools' role.
    (tmp_path / "secret.key").write_bytes(b"x" * 32)
    (tmp_path / "secret.key").chmod(0o600)
    config = tmp_path / "tallygate.conf"
    config.write_text(f"database_url = host={stack.dir}/run/pg dbname=tallygate user=tallygate\nsecret_key_file = {tmp_path}/secret.key\n")
    code, told = doctor(stack, config=config)
    assert code == 1 and told["keys"][0] == "fault" and told["role"][0] == "warning"
    stack.postgres.query("DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)")
    code, told = doctor(stack)
    assert told["schema"] == ("fault", "Run tallygatectl migrate up.") and "keys" not in told
    stack.postgres.stop()
    code, told = doctor(stack)
    assert code == 1 and told["database"][0] == "fault" and "schema" not in told


# ---- the shell ----

def complete(*words):
    script = ". completion/tallygatectl; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _tallygatectl; printf '%s\\n' \"${COMPREPLY[@]}\""
    done = subprocess.run(["bash", "-c", script, "-", str(BUILD / "tallygatectl"), *words], capture_output=True, text=True, check=True, cwd=TOP)
    return done.stdout.split()


def test_completion():
    assert {"user", "doctor", "--json", "--config"} <= set(complete(""))
    assert complete("us") == ["user"]
    assert complete("--json", "user", "pa") == ["passwd"]
    assert complete("--config", "README.m") == ["README.md"]
    assert complete("--config", "README.md", "migrate", "") == ["up", "down", "status"]


# ---- bench ----

def test_a_bench_records_what_it_says(stack):
    user = stack.new_user()
    workspace = str(found(stack, "workspace", "add", user.email, "Bench")["id"])
    key = found(stack, "key", "add", workspace, "bench")["key"]
    told = found(stack, "bench", stack.url + "/", "--cacert", str(stack.cert), "--seconds", "1", "--clients", "4", "--events", "10", given=key + "\n")
    assert told["failed"] == 0 and told["events_recorded"] > 0 and told["ms_median"] <= told["ms_p99"] <= told["ms_longest"]
    assert stack.postgres.value("SELECT count(*) FROM events WHERE workspace_id = %s AND type = 'bench'", workspace) == told["events_recorded"]


def test_a_bench_that_is_refused_says_so(stack):
    done = stack.ctl("bench", stack.url, "--cacert", str(stack.cert), "--seconds", "1", "--clients", "2", given="tg_live_nothing\n")
    assert done.returncode == 1 and "was answered 401" in done.stderr
    done = stack.ctl("bench", "https://localhost:1", "--seconds", "1", "--clients", "2", given="x\n")
    assert done.returncode == 1 and "the last one that failed: " in done.stderr
    assert stack.ctl("bench", stack.url, "--clients", "1000", given="x\n").returncode == 2


# ---- workspaces and keys ----

def test_a_workspace_and_its_keys(stack):
    user = stack.new_user()
    made = found(stack, "workspace", "add", user.email, "Shop", "--slug", "the-shop")
    assert (made["name"], made["slug"], made["role"]) == ("Shop", "the-shop", "owner")
    listed = {item["id"]: item for item in found(stack, "workspace", "list")["items"]}
    assert listed[made["id"]]["owner"] == user.email
    assert found(stack, "workspace", "show", "the-shop") == found(stack, "workspace", "show", str(made["id"])) == made
    [member] = found(stack, "workspace", "members", "the-shop")["items"]
    assert (member["user_id"], member["role"]) == (user.id, "owner")
    key = found(stack, "key", "add", "the-shop", "till", "--scopes", "events:write,analytics:read", "--per-second", "7")
    client = stack.new_client(key["key"])
    assert client.post("/analytics/events", {"type": "x", "value": 1, "user_id": "u"}).status == 201
    [item] = found(stack, "key", "list", "the-shop")["items"]
    assert (item["id"], item["name"], item["per_second"], item["user_id"]) == (key["id"], "till", 7, user.id)
    assert stack.ctl("key", "revoke", "the-shop", key["id"]).returncode == 0
    wait_for(lambda: client.get("/analytics/metrics").status == 401, 5, "the end of the key")
    assert stack.ctl("key", "revoke", "the-shop", key["id"]).returncode == 3
    assert found(stack, "workspace", "rename", "the-shop", "Store", "--slug", "store")["name"] == "Store"
    assert found(stack, "workspace", "rename", "store", "Store", "--slug", "")["slug"] is None
    who = str(made["id"])
    assert stack.ctl("workspace", "delete", who).returncode == 0
    assert stack.ctl("workspace", "show", who).returncode == 3
    actions = [row[0] for row in stack.postgres.query("SELECT action FROM audit_log WHERE subject IN (%s, %s) AND actor_id IS NULL ORDER BY id",
                                                      f"workspace:{who}", f"apikey:{key['id']}")]
    assert actions == ["workspace.created", "apikey.created", "apikey.revoked", "workspace.changed", "workspace.changed", "workspace.deleted"]


@pytest.mark.parametrize("arguments, code, words", [
    (("key", "add", "nowhere", "k"), 3, "there is no workspace nowhere"), (("workspace", "add", "nobody@example.org", "x"), 3, "there is no account"),
    (("key", "add", "{}", "k", "--scopes", "everything"), 1, "scopes[0]: must be"), (("key", "add", "{}", "k", "--expires", "soon"), 1, "expires_at"),
    (("key", "add", "{}", "k", "--per-second", "many"), 1, "per_second"), (("workspace", "rename", "{}", "x", "--slug", "A B"), 1, "slug"),
    (("workspace", "delete", "{}"), 1, "personal workspace"), (("key",), 2, "usage"), (("workspace", "rename", "{}"), 2, "usage"),
])
def test_what_cannot_be_done_with_a_workspace(stack, arguments, code, words):
    space = str(stack.new_user().workspace)
    done = stack.ctl(*(argument.replace("{}", space) for argument in arguments))
    assert done.returncode == code and words in done.stderr, done


@pytest.mark.parametrize("arguments", [("events", "--help"), ("events", "import", "--help"), ("user", "add", "x@example.org", "--help")])
def test_help_of_one_command(stack, arguments):
    done = stack.ctl(*arguments)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(f"usage: tallygatectl {arguments[0]} ")
