"""The least a router can do: read, parse, keyword route, settle. Nothing is left to take away.

The same reads and the same one-script settle as a worker, with the same promise (a task is decided
by its owner, once), and without anything else a worker does. `python -m bench.bare_loop` drains
the task stream at REDIS_URL and stops when it is empty.
"""

from __future__ import annotations

import os
from typing import cast

import redis

from bench.preload import TASKS
from bench.workload import CONSUMER, GROUP, MASTERS, decide

# An entry's id and its fields, names and values in turn, as the server sends them.
Entry = tuple[bytes, list[bytes]]

BATCH = 256
IDEMPOTENCY_WINDOW_S = 600
MASTER_KEYS = tuple(f"master:{name}" for name in MASTERS)
KEYS = (TASKS, "decisions", *MASTER_KEYS)
KEY_INDEX = {name: str(KEYS.index(f"master:{name}") + 1) for name in MASTERS}

# KEYS: tasks, decisions, one per master, then done:<task_id> per entry.
# ARGV: group, consumer, window, first id, last id, size, then per entry id, task_id, index of the
# master's key, decision. The acknowledgement comes last, because a script does not roll back.
SETTLE = f"""
local call = redis.call
local owned, seen, settled = {{}}, {{}}, {{}}
for _, entry in ipairs(call('XPENDING', KEYS[1], ARGV[1], ARGV[4], ARGV[5], ARGV[6], ARGV[2])) do
  owned[entry[1]] = true
end
local done = call('MGET', unpack(KEYS, {len(KEYS) + 1}))
for n = 1, tonumber(ARGV[6]) do
  local at = 3 + 4 * n
  local id, task_id, decision = ARGV[at], ARGV[at + 1], ARGV[at + 3]
  if owned[id] then
    if not done[n] and not seen[task_id] then
      seen[task_id] = true
      call('XADD', KEYS[tonumber(ARGV[at + 2])], '*', 'task_id', task_id, 'decision', decision)
      call('XADD', KEYS[2], '*', 'task_id', task_id, 'decision', decision)
      call('SET', KEYS[{len(KEYS)} + n], '1', 'EX', ARGV[3])
    end
    settled[#settled + 1] = id
  end
end
if #settled > 0 then call('XACK', KEYS[1], ARGV[1], unpack(settled)) end
return #settled
"""


def _read(client: redis.Redis) -> list[Entry]:
    reply = client.xreadgroup(GROUP, CONSUMER, {TASKS: ">"}, count=BATCH)
    return cast("list[tuple[bytes, list[Entry]]]", reply)[0][1] if reply else []


def drain(client: redis.Redis) -> None:
    # hiredis' own lists: building a dict an entry costs a quarter of the read.
    client.set_response_callback("XREADGROUP", lambda reply, **_: reply)
    settle = client.script_load(SETTLE)
    while entries := _read(client):
        keys: list[str | bytes] = [*KEYS]
        size = str(len(entries))
        arguments: list[str | bytes] = [
            *(GROUP, CONSUMER, str(IDEMPOTENCY_WINDOW_S), entries[0][0], entries[-1][0], size)
        ]
        for entry_id, fields in entries:
            named = dict(zip(fields[::2], fields[1::2], strict=True))
            task_id = named[b"task_id"]
            master, decision = decide(task_id, named[b"description"])
            keys.append(b"done:" + task_id)
            arguments += (entry_id, task_id, KEY_INDEX[master], decision)
        client.evalsha(settle, len(keys), *keys, *arguments)


if __name__ == "__main__":
    # RESP2: the reply is plain lists whatever the client's defaults are.
    drain(redis.Redis.from_url(os.environ["REDIS_URL"], protocol=2))
