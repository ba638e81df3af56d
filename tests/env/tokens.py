# SPDX-License-Identifier: Apache-2.0
"""Access tokens taken apart and forged."""
import base64
import hashlib
import hmac
import json

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode_json(value):
    return encode(json.dumps(value, separators=(",", ":")).encode())


def header_of(token):
    return json.loads(decode(token.split(".")[0]))


def claims_of(token):
    return json.loads(decode(token.split(".")[1]))


def thumbprint(public_key):
    """The key id by RFC 7638."""
    numbers = public_key.public_numbers()
    members = {"crv": "P-256", "kty": "EC", "x": encode(numbers.x.to_bytes(32, "big")),
               "y": encode(numbers.y.to_bytes(32, "big"))}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return encode(hashlib.sha256(text.encode()).digest())


class Key:
    """An ES256 key of our own, which the service does not know unless a test tells it."""

    def __init__(self):
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.public_pem = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.kid = thumbprint(self.private.public_key())

    def sign(self, claims, kid=None, header=None):
        headers = {"typ": "at+jwt", "kid": kid or self.kid, **(header or {})}
        return jwt.encode(claims, self.private, algorithm="ES256", headers=headers)


def unsigned(header, claims):
    return f"{encode_json(header)}.{encode_json(claims)}."


def sign_hmac(header, claims, secret, digest=hashlib.sha256):
    """What an attacker does who hopes that a public key is taken as a shared secret."""
    text = f"{encode_json(header)}.{encode_json(claims)}"
    return f"{text}.{encode(hmac.new(secret, text.encode(), digest).digest())}"


def with_parts(token, header=None, claims=None, signature=None):
    """The token with some of its parts replaced."""
    parts = token.split(".")
    for place, part in enumerate((header, claims, signature)):
        if part is not None:
            parts[place] = part if isinstance(part, str) else encode_json(part)
    return ".".join(parts)
