# SPDX-License-Identifier: Apache-2.0
"""FastAPI with asyncpg: a validated POST that makes one INSERT."""
import json
import os
from typing import Optional

import asyncpg
from fastapi import FastAPI
from pydantic import BaseModel, constr

INSERT = """
    INSERT INTO peer_events (workspace_id, type, value, user_id, metadata)
    VALUES ($1, $2, $3, $4, $5) RETURNING id
"""

app = FastAPI()


class Event(BaseModel):
    id: Optional[constr(min_length=1, max_length=128)]
    type: constr(regex=r"^[a-z][a-z0-9_.:-]{0,49}$")
    value: float
    user_id: constr(min_length=1, max_length=200)
    metadata: Optional[dict]


@app.on_event("startup")
async def open_pool():
    size = int(os.environ["POOL_SIZE"])
    app.state.pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=size, max_size=size)


@app.on_event("shutdown")
async def close_pool():
    await app.state.pool.close()


@app.post("/events", status_code=201)
async def create_event(event: Event):
    metadata = None if event.metadata is None else json.dumps(event.metadata)
    row = await app.state.pool.fetchval(INSERT, 1, event.type, event.value, event.user_id, metadata)
    return {"status": "recorded", "id": row}
