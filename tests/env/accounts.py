# SPDX-License-Identifier: Apache-2.0
"""Somebody with an account, an access token and a client that carries it."""
import secrets


class User:
    def __init__(self, stack, answer, password):
        body = answer.json()
        self.stack = stack
        self.password = password
        self.token = body["access_token"]
        self.account = body["user"]
        self.id = body["user"]["id"]
        self.email = body["user"]["email"]
        self.client = stack.new_client(self.token)
        self.request = self.client.request
        self.get = self.client.get
        self.post = self.client.post
        self.put = self.client.put
        self.delete = self.client.delete

    @classmethod
    def register(cls, stack, **fields):
        fields.setdefault("email", f"{stack.unique('user')}@example.org")
        fields.setdefault("password", "pw-" + secrets.token_hex(8))
        answer = stack.client.post("/auth/register", fields)
        assert answer.status == 201, answer
        return cls(stack, answer, fields["password"])

    def login(self, password=None):
        """The same person in another session."""
        password = password or self.password
        answer = self.stack.client.post("/auth/login", {"email": self.email, "password": password})
        assert answer.status == 200, answer
        return User(self.stack, answer, password)

    @property
    def workspace(self):
        """The personal one."""
        return self.stack.postgres.value("SELECT w.id FROM memberships m JOIN workspaces w ON w.id = m.workspace_id AND w.personal "
                                         "WHERE m.user_id = %s", self.id)

    def record(self, type="api_call", value=1, user_id="u", **fields):
        """Send one event that must be recorded; returns the answer's body."""
        answer = self.post("/analytics/events", {"type": type, "value": value, "user_id": user_id, **fields})
        assert answer.status == 201, answer
        return answer.json()
