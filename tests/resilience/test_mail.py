# SPDX-License-Identifier: Apache-2.0
"""Mails by SMTP: each reaches the server, whatever it says at first, and whatever is killed meanwhile."""
import email
import email.policy
import re
import signal
import ssl
import uuid

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from env.database import new_database
from env.jobd import Jobd
from env.stack import free_port
from env.wait import wait_for


class Server:
    """A mail server of the test's; `answers` are what it says to the next recipients or messages instead of yes."""

    def __init__(self, **options):
        self.mails = []
        self.answers = {}   # by recipient, a list
        self.logins = []
        self.controller = Controller(self, hostname="127.0.0.1", port=free_port(), **options)

    async def handle_RCPT(self, server, session, envelope, address, options):
        answers = self.answers.get(address)
        if answers:
            return answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 taken"

    def __enter__(self):
        self.controller.start()
        return self

    def __exit__(self, *_):
        self.controller.stop()

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.controller.port}"

    def to(self, address):
        return [message for _, recipients, message in self.mails if recipients == [address]]


@pytest.fixture
def database(stack):
    with new_database(stack) as made:
        yield made


@pytest.fixture
def jobd(database, tmp_path):
    made = []

    def make(server, **settings):
        made.append(Jobd(database, tmp_path, smtp_url=server if isinstance(server, str) else server.url, **{"smtp_tls": "no", **settings}))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def notice(database, address, template="password"):
    database.query("INSERT INTO outbox (id, topic, payload) VALUES (%s, 'mail', jsonb_build_object('to', %s, 'template', %s))", str(uuid.uuid4()), address,
                   template)


def waiting(database):
    return database.value("SELECT count(*) FROM outbox WHERE done_at IS NULL AND failed_at IS NULL")


def test_a_mail_with_a_token_arrives(stack, database, jobd):
    with Server() as server:
        made = jobd(server, mail_from="The Shop <shop@example.org>", app_url="https://app.example.org/")
        done = stack.ctl("user", "add", "ada@example.org", given="an engine of brass\n", config=made.config)
        assert done.returncode == 0, done
        made.start()
        [message] = wait_for(lambda: server.to("ada@example.org"), 30, "the mail")
        assert server.mails[0][0] == "shop@example.org"
        assert message["From"] == "The Shop <shop@example.org>" and message["To"].addresses[0].addr_spec == "ada@example.org"
        assert re.search(r"https://app\.example\.org/verify-address\?token=tgm_[\w-]{43}\s", message.get_content())
        wait_for(lambda: waiting(database) == 0, 30, "it to be told")
        assert "tgm_" not in made.log()


def test_many_arrive_once(database, jobd):
    with Server() as server:
        for n in range(150):
            notice(database, f"{n}@example.org")
        made = jobd(server)
        made.start()
        made.start()
        wait_for(lambda: waiting(database) == 0, 60, "all of them")
        assert sorted(recipients[0] for _, recipients, _ in server.mails) == sorted(f"{n}@example.org" for n in range(150))
        assert len({message["Message-ID"] for _, _, message in server.mails}) == 150


@pytest.mark.parametrize("answer", ["451 come again", "421 too busy", "452 full", "554 5.7.1 Relay access denied", "550 5.7.1 not you", "554 no"])
def test_one_that_is_put_off_comes_again(database, jobd, answer):
    with Server() as server:
        server.answers["ada@example.org"] = [answer]
        notice(database, "ada@example.org")
        notice(database, "bob@example.org")
        made = jobd(server)
        made.start()
        wait_for(lambda: server.to("bob@example.org"), 30, "the other one")
        [row] = wait_for(lambda: database.query("SELECT attempts, error, extract(epoch FROM next_at - now())::int FROM outbox WHERE error IS NOT NULL"), 30,
                         "its failure")
        assert row[0] == 1 and answer in row[1] and 50 < row[2] <= 60
        database.query("UPDATE outbox SET next_at = now() WHERE error IS NOT NULL")
        wait_for(lambda: server.to("ada@example.org"), 30, "it")
        wait_for(lambda: waiting(database) == 0, 30, "it to be told")


def test_one_that_is_refused_is_given_up_and_noted(stack, database, jobd):
    with Server() as server:
        server.answers["gone@example.org"] = ["550 5.1.1 no such user"] * 9
        made = jobd(server)
        assert stack.ctl("user", "add", "gone@example.org", given="an engine of brass\n", config=made.config).returncode == 0
        made.start()
        wait_for(lambda: database.value("SELECT count(*) FROM outbox WHERE failed_at IS NOT NULL"), 30, "it to be given up")
        [row] = database.query("SELECT email_bounced_at IS NOT NULL, email_bounce FROM users")
        assert row[0] and "550 5.1.1 no such user" in row[1]
        assert database.value("SELECT attempts FROM outbox") == 1
        # A new proof, and all is well again.
        database.query("UPDATE users SET email_verified_at = now()")
        assert database.value("SELECT email_bounced_at FROM users") is None


def test_a_sender_that_is_refused_is_no_matter_of_the_receivers(database, jobd):
    """550 to MAIL FROM: the settings are wrong, and no address has bounced."""
    with Server() as server:
        async def refuse(handler, session, envelope, address, options):
            return "550 5.7.1 not you"

        server.handle_MAIL = refuse
        notice(database, "ada@example.org")
        made = jobd(server)
        made.start()
        [row] = wait_for(lambda: database.query("SELECT failed_at, error FROM outbox WHERE error IS NOT NULL"), 30, "its failure")
        assert row[0] is None and "550 5.7.1 not you" in row[1]


def test_a_server_that_is_away_is_waited_for(database, jobd):
    with Server() as server:
        url = server.url
    notice(database, "ada@example.org")
    made = jobd(url)
    made.start()
    [row] = wait_for(lambda: database.query("SELECT attempts, error FROM outbox WHERE error IS NOT NULL"), 30, "its failure")
    assert row[0] == 1 and "connect" in row[1].lower()
    assert waiting(database) == 1


def test_after_three_days_it_is_given_up(database, jobd):
    notice(database, "ada@example.org")
    database.query("UPDATE outbox SET attempts = 9")
    with Server() as server:
        server.answers["ada@example.org"] = ["451 never"]
        jobd(server).start()
        wait_for(lambda: database.value("SELECT count(*) FROM outbox WHERE failed_at IS NOT NULL"), 30, "the end")
    assert database.value("SELECT count(*) FROM users WHERE email_bounced_at IS NOT NULL") == 0


def test_a_killed_process_loses_none(database, jobd):
    """What it held comes again when its time is over; the receiver tells repeats by their id."""
    with Server() as server:
        for n in range(300):
            notice(database, f"{n}@example.org")
        made = jobd(server)
        process = made.start()
        wait_for(lambda: server.mails, 30, "the first")
        process.send_signal(signal.SIGKILL)
        process.wait()
        database.query("UPDATE outbox SET next_at = now() WHERE done_at IS NULL")
        made.start()
        wait_for(lambda: waiting(database) == 0, 60, "all of them")
        assert {recipients[0] for _, recipients, _ in server.mails} == {f"{n}@example.org" for n in range(300)}
        assert len({message["Message-ID"] for _, _, message in server.mails}) == 300


def test_tls_and_a_password(stack, database, jobd, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(stack.dir / "tls" / "cert.pem", stack.dir / "tls" / "key.pem")
    seen = []

    def authenticate(server, session, envelope, mechanism, data):
        seen.append((mechanism, data))
        return AuthResult(success=isinstance(data, LoginPassword) and data == LoginPassword(b"shop", b"hunter22"))

    (tmp_path / "password").write_text("hunter22\n")
    (tmp_path / "password").chmod(0o600)
    with Server(tls_context=context, require_starttls=True, authenticator=authenticate, auth_required=True) as server:
        notice(database, "ada@example.org")
        url = server.url.replace("127.0.0.1", "localhost")
        made = jobd(url, smtp_tls="yes", smtp_user="shop", smtp_password_file=tmp_path / "password", smtp_ca_file=stack.cert)
        made.start()
        wait_for(lambda: server.to("ada@example.org"), 30, "the mail")
        assert seen and "hunter22" not in made.log()


def test_without_tls_nothing_is_said_where_it_must_be(database, jobd):
    with Server() as server:
        notice(database, "ada@example.org")
        made = jobd(server, smtp_tls="yes")
        made.start()
        wait_for(lambda: database.query("SELECT 1 FROM outbox WHERE error IS NOT NULL"), 30, "its failure")
        assert server.mails == [] and waiting(database) == 1


def test_a_password_file_that_others_can_read(database, jobd, tmp_path):
    (tmp_path / "password").write_text("x")
    (tmp_path / "password").chmod(0o644)
    with Server() as server:
        notice(database, "ada@example.org")
        made = jobd(server, smtp_user="a", smtp_password_file=tmp_path / "password")
        made.start()
        wait_for(lambda: "others can read it" in made.log(), 30, "the line")
        assert server.mails == []
