// SPDX-License-Identifier: Apache-2.0
//
// Check access tokens with jose, as a program would that trusts this service: by its published keys and nothing else.
// Reads {jwks, issuer, audience, tokens} from standard input and prints a JSON list, for each token its claims or the code of the
// error.
"use strict";

const { createRemoteJWKSet, jwtVerify } = require("jose");

async function check(keys, token, { issuer, audience }) {
  try {
    const options = {
      issuer,
      audience,
      typ: "at+jwt",
      requiredClaims: ["sub", "client_id", "iat", "exp", "jti"], // RFC 9068 section 2.2
    };
    return (await jwtVerify(token, keys, options)).payload;
  } catch (error) {
    return { error: error.code };
  }
}

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) {
    chunks.push(chunk);
  }
  const order = JSON.parse(Buffer.concat(chunks).toString());
  const keys = createRemoteJWKSet(new URL(order.jwks));
  const results = [];
  for (const token of order.tokens) {
    results.push(await check(keys, token, order));
  }
  console.log(JSON.stringify(results));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
