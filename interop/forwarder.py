"""gunicorn's own clients call a real arbiter, maybe through a forwarder.

    python forwarder.py SOCKET calls          # makes calls of all kinds
    python forwarder.py SOCKET leave TOKEN    # leaves a stream in its middle
    python forwarder.py SOCKET hold TOKEN     # waits for an answer

It prints what came of it as JSON, the same whether there is a forwarder or not.
forwarder_test.go runs it.
"""

import asyncio
import hashlib
import json
import sys

from gunicorn.dirty.client import DirtyClient
from gunicorn.dirty.errors import DirtyError
from gunicorn.dirty.stash import StashClient

APP = "dirtyapp:App"
TABLE = "forwarder"
LARGE = bytes(range(256)) * (80 << 10)  # 20 MiB

VALUES = [
    None, True, -(2**63), 2**63 - 1, 1.5, float("inf"), b"", bytes(range(256)), "", "z\u00df\u6c34\U0001f34c\x00",
    [], [1, [2.5, [None]]], {}, {"z": 1, "a": {"y": None, "b": b"x"}},
]


def show(value):
    """A value with its type and the order of its keys."""
    if isinstance(value, bytes) and len(value) > 1000:
        return f"{len(value)} bytes {hashlib.sha256(value).hexdigest()}"
    return repr(value)


def outcome(call):
    """What a call returns or raises."""
    try:
        return show(call())
    except DirtyError as e:
        shown = {name: show(value) for name, value in sorted(vars(e).items()) if name != "traceback"}
        return [type(e).__name__, shown]


def chunks(stream):
    """The chunks of a stream, and how it ends."""
    got = []

    def collect():
        for chunk in stream:
            got.append(show(chunk))

    return [outcome(collect), got]


async def chunks_async(stream):
    return [show(chunk) async for chunk in stream]


async def call_async(path):
    client = DirtyClient(path)
    try:
        return [
            show(await client.execute_async(APP, "echo", 1, z=1, a=2)),
            await chunks_async(client.stream_async(APP, "count", 100)),
            await chunks_async(client.stream_async(APP, "count_async", 3)),
            show(await client.execute_async(APP, "size", LARGE)),
        ]
    finally:
        await client.close_async()


def calls(path):
    client = DirtyClient(path)
    results = {"values": [outcome(lambda v=v: client.execute(APP, "identity", v)) for v in VALUES]}
    results["kinds"] = [outcome(lambda v=v: client.execute(APP, "kind", v)) for v in VALUES]
    results["order"] = [
        outcome(lambda: client.execute(APP, "echo", z=1, a=2, m=3, **{"": 4, "b": {"z": 1, "a": 2}})),
        outcome(lambda: client.execute(APP, "value", "dict")),
    ]
    results["large"] = [
        outcome(lambda: client.execute(APP, "size", LARGE)),
        outcome(lambda: client.execute(APP, "zeros", 20 << 20)),
        outcome(lambda: client.execute(APP, "identity", LARGE)),
    ]
    results["errors"] = [
        outcome(lambda: client.execute(APP, "fail", "a message")),
        outcome(lambda: client.execute(APP, "fail_own", "of its own")),
        outcome(lambda: client.execute(APP, "fail_dirty", "of gunicorn")),
        outcome(lambda: client.execute(APP, "no_such_action")),
        outcome(lambda: client.execute(APP, "_hidden")),
        outcome(lambda: client.execute("no:App", "echo")),
        outcome(lambda: client.execute(APP, "unencodable", "set")),
        outcome(lambda: client.execute(APP, "count", 3)),
    ]
    results["streams"] = [
        chunks(client.stream(APP, "count", 1000)),
        chunks(client.stream(APP, "chunks", VALUES)),
        chunks(client.stream(APP, "count", 0)),
        chunks(client.stream(APP, "break_off", 3)),
        chunks(client.stream(APP, "count_async", 5)),
        chunks(client.stream(APP, "break_off_async", 3)),
        chunks(client.stream(APP, "fail", "before the first chunk")),
        chunks(client.stream(APP, "identity", "no stream")),
    ]
    client.close()
    results["async"] = asyncio.run(call_async(path))
    stash = StashClient(path)
    results["stash"] = [
        outcome(lambda: stash.delete_table(TABLE)) and None,
        outcome(lambda: stash.get(TABLE, "k")),
        outcome(lambda: stash.ensure(TABLE)),
        outcome(lambda: stash.put(TABLE, "z", {"z": 1, "a": b"x"})),
        outcome(lambda: stash.put(TABLE, "a", LARGE)),
        outcome(lambda: stash.get(TABLE, "z")),
        outcome(lambda: stash.get(TABLE, "a")),
        outcome(lambda: stash.get(TABLE, "none", "by default")),
        outcome(lambda: stash.keys(TABLE)),
        outcome(lambda: stash.keys(TABLE, "z*")),
        outcome(lambda: stash.info(TABLE)),
        outcome(lambda: stash.exists(TABLE, "z")),
        outcome(lambda: stash.tables()),
        outcome(lambda: stash.delete(TABLE, "z")),
        outcome(lambda: stash.clear(TABLE)),
        outcome(lambda: stash.delete_table(TABLE)),
        outcome(lambda: stash.info(TABLE)),
    ]
    return results


def leave(path, token):
    client = DirtyClient(path)
    stream = client.stream(APP, "ticks", token, 0.005)
    got = [next(stream) for _ in range(3)]
    client.close()
    return got


def hold(path, token):
    client = DirtyClient(path, timeout=50)
    return outcome(lambda: client.execute(APP, "hold", token, 40))[0]


if __name__ == "__main__":
    do = {"calls": calls, "leave": leave, "hold": hold}[sys.argv[2]]
    print(json.dumps(do(sys.argv[1], *sys.argv[3:]), indent=1))
