# SPDX-License-Identifier: Apache-2.0
"""Workspaces that people share, and the keys of programs."""
import re

from env.wait import wait_for


def mailed_token(stack, address, subject, count=1):
    """The token in the latest of at least `count` mails."""
    def find():
        found = [mail for mail in stack.mails(address) if subject in mail["Subject"]]
        return found if len(found) >= count else None
    mail = wait_for(find, what=f"a mail about {subject}")[-1]
    return re.search(r"\?token=(tgm_[A-Za-z0-9_-]{43})\s", mail.get_content())[1]


class Workspace:
    """One that `owner` makes."""

    def __init__(self, owner, slug=None):
        self.owner = owner
        self.stack = owner.stack
        self.slug = slug or self.stack.unique("w")
        answer = owner.post("/workspaces", {"name": f"Workspace {self.slug}", "slug": self.slug})
        assert answer.status == 201, answer
        self.id = answer.json()["id"]
        self.path = f"/workspaces/{self.id}"
        self.header = {"X-Workspace": self.slug}

    def invite(self, user, role):
        answer = self.owner.post(f"{self.path}/invitations", {"email": user.email, "role": role})
        assert answer.status == 201, answer
        return mailed_token(self.stack, user.email, "You are invited")

    def join(self, user, role):
        """Let somebody in, by the whole way."""
        answer = user.post("/workspaces/accept", {"token": self.invite(user, role)})
        assert answer.status == 200, answer
        assert answer.json() == {"workspace_id": self.id, "role": role}
        return user

    def add(self, user, role):
        """Let somebody in, by the back door."""
        self.stack.postgres.query("INSERT INTO memberships (workspace_id, user_id, role) VALUES (%s, %s, %s)", self.id,
                                  user.id, role)
        return user

    def roles(self):
        items = self.owner.get(f"{self.path}/members").json()["items"]
        return {item["user_id"]: item["role"] for item in items}


def make_key(user, scopes, headers=None, **more):
    """A new key; returns the answer's body."""
    answer = user.post("/auth/api-keys", {"name": "test", "scopes": scopes, **more}, headers=headers)
    assert answer.status == 201, answer
    return answer.json()
