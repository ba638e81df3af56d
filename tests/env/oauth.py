# SPDX-License-Identifier: Apache-2.0
"""Services, and the forms that OAuth 2 has for bodies."""
import base64
import urllib.parse

TOKEN, REVOKE, INTROSPECT = "/token", "/oauth/revoke", "/oauth/introspect"
FORM = "application/x-www-form-urlencoded"


def send(stack, path, headers=None, data=None, **form):
    return stack.client.post(path, data=urllib.parse.urlencode(form) if data is None else data,
                             headers={"Content-Type": FORM, **(headers or {})})


class Service:
    """A program with credentials of its own."""

    def __init__(self, stack):
        self.stack = stack
        self.name = stack.unique("service")
        self._keep(stack.ctl("service", "add", self.name))

    def _keep(self, done):
        assert (done.returncode, done.stderr) == (0, ""), done
        said = dict(line.split() for line in done.stdout.splitlines())
        self.id, self.secret = said["client_id"], said["client_secret"]

    def renew(self):
        self._keep(self.stack.ctl("service", "renew", self.name))

    def remove(self):
        assert self.stack.ctl("service", "remove", self.name).returncode == 0

    @property
    def basic(self):
        return {"Authorization": "Basic " + base64.b64encode(f"{self.id}:{self.secret}".encode()).decode()}

    def token(self):
        answer = send(self.stack, TOKEN, self.basic, grant_type="client_credentials")
        assert answer.status == 200, answer
        return answer.json()["access_token"]

    def introspect(self, token):
        answer = send(self.stack, INTROSPECT, self.basic, token=token)
        assert answer.status == 200, answer
        return answer.json()
