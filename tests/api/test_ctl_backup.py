# SPDX-License-Identifier: Apache-2.0
"""tallygatectl backup and restore: what is restored is what was there, or nothing is."""
import json
import os
import subprocess

import pytest

from env import consistency

PASSPHRASE = "a passphrase of the backups\n"


@pytest.fixture(scope="module")
def stack(make_stack):
    return make_stack()


@pytest.fixture
def place(tmp_path):
    (tmp_path / "backups").mkdir()
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    (tmp_path / "passphrase").chmod(0o600)
    return tmp_path


def make(stack, place, *options):
    done = stack.ctl("--json", "backup", "make", "--dir", str(place / "backups"), "--passphrase-file", str(place / "passphrase"), *options)
    assert done.returncode == 0, done
    return json.loads(done.stdout)["backup"]


@pytest.fixture
def empty(stack, place):
    """An empty database, and settings that name it."""
    name = stack.unique("again").replace("-", "_")
    url = stack.postgres.make_database(name)
    config = place / "again.conf"
    pools = url.replace("user=tallygate", "user=tallygate_app")
    config.write_text(f"database_url = {pools}\nmigration_url = {url}\nsecret_key_file = {stack.dir}/etc/secret.key\n")
    yield name, config
    stack.postgres.drop_database(name)


def fill(stack):
    user = stack.new_user()
    for n in range(3):
        assert user.client.post("/analytics/events", [{"type": "api_call", "value": n, "user_id": f"u{i}", "metadata": {"t": "ü\t\\"}}
                                                      for i in range(100)]).status == 200
    return user


def rows(stack, database):
    tables = [name for name, in stack.postgres.query(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition "
        "AND relname NOT IN ('installation', 'signing_keys', 'audit_log', 'outbox') ORDER BY 1", database=database)]
    return {name: stack.postgres.value(f"SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {name} t", database=database)
            for name in tables}


def test_restored_is_what_was_there(stack, place, empty):
    name, config = empty
    fill(stack)
    consistency.settle(stack.postgres)
    before = rows(stack, "tallygate")
    backup = make(stack, place)
    later = fill(stack)
    done = stack.ctl("--json", "restore", backup, config=config)
    assert done.returncode == 0, done
    told = json.loads(done.stdout)
    assert (told["tables_that_differ"], told["rollup_rows_that_differ"]) == (0, 0) and told["tables"] > 20
    assert rows(stack, name) == before
    # Whoever asks by a token of after the backup asks in vain, and answers that were kept are not of this database.
    assert stack.postgres.value("SELECT count(*) FROM signing_keys", database=name) == 0
    assert stack.postgres.value("SELECT id FROM installation", database=name) != stack.postgres.value("SELECT id FROM installation")
    assert stack.postgres.value("SELECT count(*) FROM users WHERE email = %s", later.email, database=name) == 0
    assert stack.postgres.value("SELECT count(*) FROM audit_log WHERE action = 'database.restored'", database=name) == 1
    # The pools' role can work with it.
    assert stack.ctl("user", "list", config=config).returncode == 0
    done = stack.ctl("restore", backup, config=config)
    assert done.returncode == 1 and "the database is not empty" in done.stderr


def test_a_restored_installation_serves(stack, place, empty, make_stack):
    """Another host, with the settings and the secret that were sealed: people log in, their figures are there, and all goes on."""
    name, config = empty
    user = fill(stack)
    backup = make(stack, place)
    assert stack.ctl("restore", backup, config=config).returncode == 0
    done = stack.ctl("restore", backup, "--only-settings", "--settings-to", str(place / "etc"), "--passphrase-file", str(place / "passphrase"))
    assert done.returncode == 0, done
    assert (place / "etc" / "tallygate.conf").read_text() == stack.config.read_text()
    secret = place / "etc" / "secret.key"
    assert secret.read_bytes().strip() == (stack.dir / "etc" / "secret.key").read_bytes().strip()
    assert oct(secret.stat().st_mode & 0o777) == "0o600"
    settings = {**stack.shared, "secret_key_file": str(secret)}
    settings["database_url"] = settings["database_url"].replace("dbname=tallygate", f"dbname={name}")
    other = make_stack(**settings)
    old = other.new_client(user.token)
    assert old.get("/auth/verify").status == 401
    answer = other.client.post("/auth/login", {"email": user.email, "password": user.password})
    assert answer.status == 200, answer.body
    client = other.new_client(answer.json()["access_token"])
    assert client.get("/analytics/summary").json()["total_events"] == 300
    assert client.post("/analytics/events", {"type": "api_call", "value": 1, "user_id": "u"}).status == 201
    assert client.get("/analytics/summary").json()["total_events"] == 301


def test_a_backup_is_one_moment_of_a_busy_database(stack, place, empty):
    name, config = empty
    user = fill(stack)
    making = subprocess.Popen(stack.ctl_command("--json", "backup", "make", "--dir", str(place / "backups"), "--without-settings"),
                              stdout=subprocess.PIPE, text=True)
    while making.poll() is None:
        assert user.client.post("/analytics/events", [{"type": "api_call", "value": 1, "user_id": "u"}] * 50).status == 200
    backup = json.loads(making.stdout.read())["backup"]
    done = stack.ctl("restore", backup, config=config)
    assert done.returncode == 0, done
    assert stack.ctl("events", "check", config=config).returncode == 0


def test_what_others_can_read_of_it(stack, place):
    backup = make(stack, place)
    assert sorted(os.listdir(backup)) == ["SHA256SUMS", "database.dump.zst", "manifest.json", "settings.sealed"]
    assert {oct(os.stat(f"{backup}/{name}").st_mode & 0o777) for name in os.listdir(backup)} == {"0o600"}
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=backup, check=True)
    subprocess.run(["zstd", "-qt", f"{backup}/database.dump.zst"], check=True)
    secret = (stack.dir / "etc" / "secret.key").read_bytes().strip()
    for name in os.listdir(backup):
        data = open(f"{backup}/{name}", "rb").read()
        assert secret not in data and b"secret_key_file" not in data, name
    done = stack.ctl("--json", "backup", "list", "--dir", str(place / "backups"))
    [item] = json.loads(done.stdout)["items"]
    assert (item["schema"], item["settings"], item["backup"]) == (int(stack.postgres.value("SELECT max(version) FROM schema_migrations")), True,
                                                                  backup.rsplit("/", 1)[1])


@pytest.mark.parametrize("name", ["database.dump.zst", "settings.sealed", "manifest.json", "SHA256SUMS"])
def test_damage_is_seen(stack, place, empty, name):
    _, config = empty
    backup = make(stack, place)
    path = f"{backup}/{name}"
    data = bytearray(open(path, "rb").read())
    data[len(data) // 2] ^= 1
    open(path, "wb").write(data)
    for command in (("backup", "verify", backup), ("restore", backup)):
        done = stack.ctl(*command, config=config)
        assert done.returncode == 1 and backup in done.stderr, done
    assert stack.postgres.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database=empty[0]) == 0


def test_another_passphrase_opens_nothing(stack, place):
    backup = make(stack, place)
    ours = ("--passphrase-file", str(place / "passphrase"))
    assert stack.ctl("backup", "verify", backup, *ours).returncode == 0
    (place / "passphrase").write_text("another passphrase\n")
    done = stack.ctl("backup", "verify", backup, *ours)
    assert done.returncode == 1 and "does not open with this passphrase" in done.stderr
    done = stack.ctl("restore", backup, "--only-settings", "--settings-to", str(place / "etc"), *ours)
    assert done.returncode == 1 and not (place / "etc").exists()


def test_nobodys_settings_are_overwritten(stack, place):
    backup = make(stack, place)
    (place / "etc").mkdir()
    (place / "etc" / "tallygate.conf").write_text("precious")
    done = stack.ctl("restore", backup, "--only-settings", "--settings-to", str(place / "etc"), "--passphrase-file", str(place / "passphrase"))
    assert done.returncode == 1 and (place / "etc" / "tallygate.conf").read_text() == "precious"


def test_a_passphrase_that_is_none(stack, place):
    options = ("backup", "make", "--dir", str(place / "backups"), "--passphrase-file", str(place / "passphrase"))
    (place / "passphrase").chmod(0o640)
    assert "others can read it" in stack.ctl(*options).stderr
    (place / "passphrase").chmod(0o600)
    (place / "passphrase").write_text("short\n")
    assert "at least 12 are needed" in stack.ctl(*options).stderr
    (place / "passphrase").unlink()
    done = stack.ctl(*options)
    assert done.returncode == 1 and "--without-settings" in done.stderr
    assert not os.listdir(place / "backups")
    assert stack.ctl(*options, "--without-settings").returncode == 0


def test_the_oldest_go(stack, place):
    config = place / "keep.conf"
    config.write_text(stack.config.read_text() + "backup_keep = 2\n")
    for stamp in ("20200101T000000Z", "20200102T000000Z", "20200103T000000Z"):
        (place / "backups" / stamp).mkdir()
        (place / "backups" / stamp / "manifest.json").write_text("{}")
    (place / "backups" / "mine").mkdir()
    done = stack.ctl("--json", "backup", "make", "--without-settings", "--dir", str(place / "backups"), config=config)
    made = json.loads(done.stdout)
    assert made["removed"] == 2
    assert sorted(os.listdir(place / "backups")) == ["20200103T000000Z", made["backup"].rsplit("/", 1)[1], "mine"]


def test_a_dump_that_fails_leaves_nothing(stack, place):
    tools = place / "bin"
    tools.mkdir()
    (tools / "pg_dump").write_text("#!/bin/sh\necho half\nexit 1\n")
    (tools / "pg_dump").chmod(0o755)
    environment = {"PATH": f"{tools}:{os.environ['PATH']}"}
    done = stack.program("tallygatectl", "--config", str(stack.config), "backup", "make", "--without-settings", "--dir",
                         str(place / "backups"), env=environment)
    assert done.returncode == 1 and "pg_dump failed" in done.stderr
    assert not os.listdir(place / "backups")
    (tools / "pg_dump").unlink()
    done = stack.program("tallygatectl", "--config", str(stack.config), "backup", "make", "--without-settings", "--dir",
                         str(place / "backups"), env={"PATH": str(tools)})
    assert done.returncode == 1 and "there is no pg_dump" in done.stderr


def test_a_password_is_in_no_argument(stack, place):
    """It goes to pg_dump by its environment, which only its user can read."""
    tools = place / "bin"
    tools.mkdir()
    (tools / "pg_dump").write_text(f'#!/bin/sh\necho "$@" >{place}/arguments\nenv >{place}/environment\nexit 1\n')
    (tools / "pg_dump").chmod(0o755)
    config = place / "password.conf"
    config.write_text(stack.config.read_text().replace("user=tallygate\n", "user=tallygate password=hunter22\n"))
    done = stack.program("tallygatectl", "--config", str(config), "backup", "make", "--without-settings", "--dir", str(place / "backups"),
                         env={"PATH": f"{tools}:{os.environ['PATH']}"})
    assert "hunter22" not in done.stderr + done.stdout
    assert "hunter22" not in (place / "arguments").read_text()
    assert "PGPASSWORD=hunter22\n" in (place / "environment").read_text()


def test_finishing_what_other_means_restored(make_stack):
    """After a recovery to a point in time: no token of the time that did not happen is good, and no kept answer shown."""
    stack = make_stack()
    user = fill(stack)
    installation = stack.postgres.value("SELECT id FROM installation")
    assert stack.ctl("restore", "--finish").returncode == 0
    assert stack.postgres.value("SELECT id FROM installation") != installation
    for pool in (stack.auth, stack.ingest, stack.api):
        pool.stop()
    stack.up()
    assert user.client.get("/auth/verify").status == 401
    assert user.client.get("/analytics/summary").status == 401
    answer = stack.client.post("/auth/login", {"email": user.email, "password": user.password})
    assert stack.new_client(answer.json()["access_token"]).get("/analytics/summary").status == 200


@pytest.mark.parametrize("arguments", [("backup",), ("backup", "eat"), ("backup", "make", "x"), ("backup", "verify"), ("restore",),
                                       ("restore", "a", "b"), ("restore", "a", "--only-settings"), ("restore", "a", "--finish")])
def test_wrong_usage(stack, arguments):
    done = stack.ctl(*arguments)
    assert done.returncode == 2 and done.stderr, done
