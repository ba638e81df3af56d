# SPDX-License-Identifier: Apache-2.0
"""tallygate.conf: what is refused, with file, line and reason; what is shown; what overrides."""
import subprocess

import pytest

from env.stack import command_environment
from env.wait import BUILD

SECRET = "k" * 64


class Settings:
    """A settings file and its secret in a directory of its own."""

    def __init__(self, directory):
        self.file = directory / "tallygate.conf"
        self.secret = directory / "secret.key"
        self.set_secret(SECRET)

    def set_secret(self, content, mode=0o600):
        self.secret.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.secret.chmod(mode)

    def write(self, *lines):
        text = f"secret_key_file = {self.secret}\n" + "".join(f"{line}\n" for line in lines)
        self.file.write_bytes(text.encode("utf-8", "surrogateescape"))

    def run(self, mode, config=None, **env):
        command = [str(BUILD / "tallygate-fcgi"), mode, "--config", str(config or self.file)]
        return subprocess.run(command, capture_output=True, text=True, env={**command_environment(), **env},
            check=False)

    def check(self, *lines, **env):
        self.write(*lines)
        return self.run("--check-config", **env)

    def show(self, *lines, **env):
        """{key: value} of what is in force."""
        self.write(*lines)
        done = self.run("--show-config", **env)
        assert done.returncode == 0, done
        pairs = (line.split(" = ", 1) for line in done.stdout.splitlines() if line and not line.startswith("#"))
        return dict(pairs)


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path)


def refused(done, *words):
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert str(word) in done.stderr, done.stderr


def test_good(settings):
    done = settings.check("issuer = https://example.org", "# a comment", "; another", "", "bcrypt_cost=10", "  ")
    assert (done.returncode, done.stderr) == (0, ""), done


# ---- refused, with file, line and reason ----

@pytest.mark.parametrize("lines, line, reason", [
    (["unknown = 1"], 2, "unknown key 'unknown'"),
    (["", "# x", "Bcrypt_cost = 10"], 4, "unknown key 'Bcrypt_cost'"),
    (["bcrypt_cost = 10", "issuer = https://x", "bcrypt_cost = 11"], 4, "'bcrypt_cost' is set twice"),
    (["secret_key_file = /x"], 2, "'secret_key_file' is set twice"),
    (["[server]", "bcrypt_cost = 10"], 2, "sections are not used here"),
    (["bcrypt_cost"], 2, "key = value"),
    (["bcrypt_cost 10"], 2, "key = value"),
    (["bcrypt_cost ="], 2, "from 4 to 16"),
    (["bcrypt_cost = ten"], 2, "from 4 to 16"),
    (["bcrypt_cost = 3"], 2, "from 4 to 16"),
    (["bcrypt_cost = 17"], 2, "from 4 to 16"),
    (["bcrypt_cost = 10.5"], 2, "from 4 to 16"),
    (["bcrypt_cost = 10x"], 2, "from 4 to 16"),
    (["bcrypt_cost = -5"], 2, "from 4 to 16"),
    (["bcrypt_cost = 99999999999999999999"], 2, "from 4 to 16"),
    (["access_token_ttl_s = 9"], 2, "from 10 to 86400"),
    (["access_token_ttl_s = 86401"], 2, "from 10 to 86400"),
    (["api_threads = 0"], 2, "from 1 to 128"),
    (["profile_requires_password = maybe"], 2, "must be yes or no"),
    (["profile_requires_password = 1"], 2, "must be yes or no"),
    (["log_level = loud"], 2, "must be error, warn, info or debug"),
    (["log_level = INFO"], 2, "must be error, warn, info or debug"),
    (["issuer ="], 2, "1 to 255 bytes"),
    (["issuer = " + "x" * 256], 2, "1 to 255 bytes"),
    (["database_url ="], 2, "bytes"),
    (["cors_origins = " + "x" * 4001], 2, "4000 bytes"),
    (["cors_origins = " + "x" * 5000], 2, "longer than"),
])
def test_refused_line(settings, lines, line, reason):
    refused(settings.check(*lines), f"{settings.file}:{line}: ", reason)


@pytest.mark.parametrize("value", ["4", "16"])
def test_bounds_of_a_number(settings, value):
    assert settings.show(f"bcrypt_cost = {value}")["bcrypt_cost"] == value


@pytest.mark.parametrize("length, good", [(255, True), (256, False)])
def test_bounds_of_a_text(settings, length, good):
    done = settings.check("issuer = " + "x" * length)
    assert (done.returncode == 0) == good


@pytest.mark.parametrize("value, shown", [("yes", "yes"), ("on", "yes"), ("true", "yes"), ("no", "no"), ("off", "no"),
    ("false", "no")])
def test_words_for_yes_and_no(settings, value, shown):
    assert settings.show(f"profile_requires_password = {value}")["profile_requires_password"] == shown


def test_missing_file(settings, tmp_path):
    refused(settings.run("--check-config", config=tmp_path / "none"), tmp_path / "none", "No such file")


def test_file_that_is_a_directory(settings, tmp_path):
    refused(settings.run("--check-config", config=tmp_path), tmp_path)


@pytest.mark.parametrize("pool", ["auth", "ingest", "api"])
def test_a_pool_does_not_start(settings, pool):
    settings.write("nonsense = 1")
    command = [str(BUILD / "tallygate-fcgi"), "--pool", pool, "--config", str(settings.file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    refused(done, f"{settings.file}:2: unknown key 'nonsense'")


@pytest.mark.parametrize("arguments", [
    [], ["--pool"], ["--pool", "none"], ["--nonsense"], ["--check-config", "more"], ["--pool", ""],
])
def test_usage(stack, arguments):
    done = stack.program("tallygate-fcgi", *arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


# ---- the secret ----

@pytest.mark.parametrize("content, mode, reason", [
    ("k" * 31, 0o600, "at least 32"), ("", 0o600, "at least 32"), ("k" * 31 + "\n", 0o600, "at least 32"),
    ("k" * 513, 0o600, "longer than 512"),
    (SECRET, 0o640, "others can read it"), (SECRET, 0o604, "others can read it"), (SECRET, 0o644, "others can read it"),
    (SECRET, 0o660, "others can read it"), (SECRET, 0o601, "others can read it"),
])
def test_bad_secret(settings, content, mode, reason):
    settings.set_secret(content, mode)
    refused(settings.check(), "secret_key_file", settings.secret, reason)


@pytest.mark.parametrize("content, mode",
    [("k" * 32, 0o600), ("k" * 32 + "\n", 0o400), ("k" * 512, 0o600), (bytes(range(128, 192)), 0o600)])
def test_good_secret(settings, content, mode):
    settings.set_secret(content, mode)
    assert settings.check().returncode == 0


def test_secret_that_is_not_there(settings):
    settings.secret.unlink()
    refused(settings.check(), "secret_key_file", settings.secret, "No such file")


def test_secret_that_is_a_directory(settings):
    settings.secret.unlink()
    settings.secret.mkdir(mode=0o700)
    refused(settings.check(), "secret_key_file", "regular file")


# ---- never printed ----

URL = "postgresql://u:Top-S3cret@localhost/db"


@pytest.mark.parametrize("line", [f"database_url = {URL}", "redis_url = redis://:Top-S3cret@localhost:6379/0"])
def test_secrets_are_not_shown(settings, line):
    key = line.partition(" ")[0]
    shown = settings.show(line)
    assert shown[key] == "(hidden)"
    settings.write(line)
    for mode in ("--show-config", "--check-config"):
        done = settings.run(mode)
        assert "S3cret" not in done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("lines", [
    [f"database_url = {URL}{'x' * 2000}"], [f"database_url = {URL}", f"database_url = {URL}"],
    ["redis_url = ftp://:Top-S3cret@host"],
    ["redis_url = redis://:Top-S3cret@localhost:port"], ["redis_url = Top-S3cret"],
])
def test_secrets_are_not_in_a_complaint(settings, lines):
    done = settings.check(*lines)
    assert done.returncode == 1
    assert done.stderr and "S3cret" not in done.stderr


@pytest.mark.parametrize("url", ["ftp://host", "host:6379", "redis://", "redis://host:port", "redis://host:0",
    "redis://host:65536",
                                 "redis://host/x", "redis://host/-1", "unix:", "unix:relative/path"])
def test_bad_redis_url(settings, url):
    refused(settings.check(f"redis_url = {url}"), "redis_url")


# ---- shown ----

def test_all_keys_are_shown_with_help_and_default(settings):
    settings.write()
    lines = settings.run("--show-config").stdout.splitlines()
    keys = [line.split(" = ")[0] for line in lines if not line.startswith("#")]
    listed = subprocess.run([str(BUILD / "tallygate-fcgi"), "--list-keys"], capture_output=True, text=True,
        check=False).stdout.split()
    assert keys == listed and len(keys) > 15
    assert all(lines[n - 1].startswith("# ") and len(lines[n - 1]) > 10 for n,
        line in enumerate(lines) if " = " in line and line[0] != "#")
    shown = settings.show()
    assert (shown["bcrypt_cost"], shown["access_token_ttl_s"], shown["profile_requires_password"],
        shown["cors_origins"],
            shown["log_level"]) == ("12", "900", "yes", "", "info")


def test_what_is_shown_can_be_read_again(settings):
    settings.write("cors_origins = https://a.example https://b.example", "log_level = warn")
    text = settings.run("--show-config").stdout
    settings.file.write_text("".join(f"{line}\n" for line in text.splitlines() if "(hidden)" not in line))
    done = settings.run("--check-config")
    assert done.returncode == 0, done
    assert settings.run("--show-config").stdout == text


def test_list_goes_on_in_indented_lines(settings):
    shown = settings.show("cors_origins = https://a.example", "    https://b.example", "    https://c.example",
        "log_level = warn")
    assert shown["cors_origins"] == "https://a.example https://b.example https://c.example"
    assert shown["log_level"] == "warn"


# ---- the environment overrides ----

def test_secret_key_file_from_the_environment(settings, tmp_path):
    other = tmp_path / "other.key"
    other.write_text("o" * 40)
    other.chmod(0o600)
    assert settings.show(SECRET_KEY_FILE=str(other))["secret_key_file"] == str(other)
    refused(settings.check(SECRET_KEY_FILE="/nowhere"), "/nowhere")


def test_database_url_from_the_environment(stack, settings):
    """It wins over the file: the one that it names is the one that is asked."""
    settings.write("database_url = host=/nowhere dbname=none")
    good = f"host={stack.dir}/run/pg dbname=tallygate user=tallygate"
    assert "applied" not in stack.program("tallygatectl", "--config", str(settings.file), "migrate", "status").stdout
    done = stack.program("tallygatectl", "--config", str(settings.file), "migrate", "status",
        env={"DATABASE_URL": good})
    assert done.returncode == 0, done
    assert "0001_accounts" in done.stdout


@pytest.mark.parametrize("variable, value", [("DATABASE_URL", ""), ("SECRET_KEY_FILE", ""),
    ("DATABASE_URL", "x" * 2001), ("REDIS_URL", "x" * 1001)])
def test_bad_value_in_the_environment(settings, variable, value):
    refused(settings.check(**{variable: value}), f"environment variable {variable}")


def test_redis_url_from_the_environment(settings):
    refused(settings.check("redis_url = unix:/good", REDIS_URL="ftp://bad"), "redis_url")
    assert settings.show("redis_url = unix:/x", REDIS_URL="")["redis_url"] == ""
