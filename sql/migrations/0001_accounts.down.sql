DROP TABLE totals, signing_keys, revocations, sessions, memberships, workspaces, users;
