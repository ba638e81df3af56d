// SPDX-License-Identifier: Apache-2.0
//
// Send events with the CloudEvents project's own SDK for JavaScript: the SDK makes events, headers, bodies
// and requests; nothing here knows how they look. Reads {url, token, mode, events} from standard input
// and prints the bodies of the answers as one JSON list.
"use strict";

const { CloudEvent, CONSTANTS, HTTP, Mode, emitterFor, httpTransport } = require("cloudevents");

async function send({ url, token, mode, events }) {
  const transport = httpTransport(url);
  const options = { headers: { authorization: `Bearer ${token}` } };
  const made = events.map((attributes) => new CloudEvent(attributes));
  if (mode !== Mode.BATCH) {
    const emit = emitterFor(transport, { binding: HTTP, mode });
    return Promise.all(made.map((event) => emit(event, options)));
  }
  // The SDK reads batches but has no function that writes one: it is a list of its events.
  const message = { headers: { "content-type": CONSTANTS.MIME_CE_BATCH }, body: JSON.stringify(made) };
  if (HTTP.toEvent(message).length !== made.length) {
    throw new Error("the SDK does not read this batch");
  }
  return [await transport(message, options)];
}

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) {
    chunks.push(chunk);
  }
  const answers = await send(JSON.parse(Buffer.concat(chunks).toString()));
  console.log(JSON.stringify(answers.map((answer) => JSON.parse(answer.body))));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
