// SPDX-License-Identifier: Apache-2.0
//
// Read requests of OTLP/HTTP in JSON by the protocol's own schema, as OpenTelemetry generates it, and print what a collector would
// have of them: a name that the schema does not know is not there any more. Reads {bodies} from standard input.
"use strict";

const root = require("@opentelemetry/otlp-transformer/build/src/generated/root.js");

const Request = root.opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest;

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) {
    chunks.push(chunk);
  }
  const { bodies } = JSON.parse(Buffer.concat(chunks).toString());
  const read = bodies.map((body) => {
    const message = Request.fromObject(body);
    const fault = Request.verify(message);
    if (fault) {
      throw new Error(fault);
    }
    // Ids are hex in the protocol's JSON and base64 in that of protobuf, which gives them back as they came.
    return Request.toObject(Request.decode(Request.encode(message).finish()), { longs: String, bytes: String, enums: Number });
  });
  console.log(JSON.stringify(read));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
