// SPDX-License-Identifier: Apache-2.0
//
// Verify requests of webhooks by the library of Standard Webhooks, unmodified. Reads {secret, requests: [{headers, body}]} from standard
// input, and prints for each the event, or {error}.
"use strict";

const { Webhook } = require("standardwebhooks");

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) {
    chunks.push(chunk);
  }
  const { secret, requests } = JSON.parse(Buffer.concat(chunks).toString());
  const webhook = new Webhook(secret);
  const read = requests.map(({ headers, body }) => {
    try {
      return webhook.verify(body, headers);
    } catch (error) {
      return { error: error.message };
    }
  });
  console.log(JSON.stringify(read));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
