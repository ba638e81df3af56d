// SPDX-License-Identifier: Apache-2.0
// Fastify with pg: a validated POST that makes one INSERT.
'use strict';

const cluster = require('node:cluster');
const fastify = require('fastify');
const { Pool } = require('pg');

const INSERT = {
  name: 'insert_event', // prepared once a connection
  text: `INSERT INTO peer_events (workspace_id, type, value, user_id, metadata)
         VALUES ($1, $2, $3, $4, $5) RETURNING id`,
};

const schema = {
  body: {
    type: 'object',
    required: ['type', 'value', 'user_id'],
    additionalProperties: false,
    properties: {
      id: { type: 'string', minLength: 1, maxLength: 128 },
      type: { type: 'string', pattern: '^[a-z][a-z0-9_.:-]{0,49}$' },
      value: { type: 'number' },
      user_id: { type: 'string', minLength: 1, maxLength: 200 },
      metadata: { type: 'object' },
    },
  },
  response: {
    201: {
      type: 'object',
      properties: { status: { type: 'string' }, id: { type: 'string' } },
    },
  },
};

async function serve() {
  const pool = new Pool({
    host: process.env.PG_DIRECTORY,
    database: 'peers',
    user: 'tallygate',
    max: Number(process.env.POOL_SIZE),
    idleTimeoutMillis: 0,
  });
  const app = fastify({ logger: false });

  app.post('/events', { schema }, async (request, reply) => {
    const { type, value, user_id, metadata } = request.body;
    const { rows } = await pool.query({ ...INSERT, values: [1, type, value, user_id, metadata] });
    reply.code(201);
    return { status: 'recorded', id: rows[0].id };
  });

  await app.listen({ path: process.env.SOCKET });
}

if (cluster.isPrimary) {
  for (let i = 0; i < Number(process.env.WORKERS); i++) {
    cluster.fork();
  }
  process.on('SIGTERM', () => process.exit(0));
} else {
  serve();
}
