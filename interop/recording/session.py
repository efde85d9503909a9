"""What is recorded: gunicorn's own clients doing everything that they can.

    python session.py PATH       run under the interpreter that has gunicorn

Each step checks its outcome, so that a recording shows what it claims to.
"""

import asyncio
import contextlib
import socket
import sys
import time

from gunicorn.dirty.client import DirtyClient
from gunicorn.dirty.errors import (
    DirtyAppError, DirtyError, DirtyNoWorkersAvailableError, DirtyWorkerError)
from gunicorn.dirty.protocol import DirtyProtocol
from gunicorn.dirty.stash import StashClient

APP = "dirtyapp:App"


def main(path):
    requests(path)
    streams(path)
    asyncio.run(asynchronous(path))
    failures(path)
    stash(path)
    stash_failures(path)
    raw(path)
    # No request to a worker after these two: releases before 26.1 answer it with
    # the late answer of the one that timed out, and a dying worker may lose it.
    timeout(path)
    manage(path)


def requests(path):
    with DirtyClient(path) as client:
        values = [None, True, False, 0, -1, 2**63 - 1, -(2**63), 1.5, float("inf"), -0.0,
                  b"", bytes(range(256)), "", "z\u00df\u6c34\U0001f34c", [], [1, [2, [3]]], {}, {"b": 1, "a": {"": None}}]
        answer = client.execute(APP, "echo", *values, z=1, a=[2], nothing=None)
        assert answer == {"args": values, "kwargs": {"z": 1, "a": [2], "nothing": None}}, answer
        assert client.execute(APP, "value", "odd_keys")["(1, 2)"] == "tuple"
        assert client.execute(APP, "value", "same_key_twice") == {"2": "second"}
        assert client.execute(APP, "zeros", 4096) == bytes(4096)
        assert client.execute(APP, "depth", client.execute(APP, "nested", 100)) == 100
        pixels = [i / 128 for i in range(128)]
        assert client.execute(APP, "size", pixels) == 128


def streams(path):
    with DirtyClient(path) as client:
        assert list(client.stream(APP, "count", 5)) == [0, 1, 2, 3, 4]
        assert list(client.stream(APP, "count", 0)) == []
        assert list(client.stream(APP, "chunks", [None, b"\x00\xff", "text", {"token": " the", "index": 1}]))[3]["index"] == 1
        assert list(client.stream(APP, "count_async", 3)) == [0, 1, 2]
        assert fails(DirtyAppError, lambda: list(client.stream(APP, "break_off", 2))).message == "broke off"
    with DirtyClient(path) as client:
        fails(DirtyAppError, lambda: list(client.stream(APP, "break_off_async", 1)))
    with DirtyClient(path) as client:
        fails(DirtyAppError, lambda: list(client.stream(APP, "bad_chunk")))


async def asynchronous(path):
    async with DirtyClient(path) as client:
        assert await client.execute_async(APP, "identity", "async") == "async"
        assert [chunk async for chunk in client.stream_async(APP, "count_async", 2)] == [0, 1]


def failures(path):
    """gunicorn's client closes its connection after an error: each is on a new one."""
    for action, argument in (("fail", "boom"), ("fail", ""), ("fail_own", "empty tray"), ("fail_dirty", "cartridge"),
                             ("no_such_action", None), ("_private", None), ("unencodable", "set"),
                             ("unencodable", "int_overflow"), ("unencodable", "long_list")):
        with DirtyClient(path) as client:
            fails(DirtyAppError, lambda: client.execute(APP, action, argument))
    with DirtyClient(path) as client:
        fails(DirtyNoWorkersAvailableError, lambda: client.execute("nowhere:App", "echo"))
    with DirtyClient(path) as client:
        fails(DirtyWorkerError, lambda: client.execute(APP, "die"))
    assert next_worker(path) == "the next worker"


def next_worker(path):
    """A new worker refuses requests between binding its socket and listening."""
    for _ in range(50):
        with contextlib.suppress(DirtyWorkerError), DirtyClient(path) as client:
            return client.execute(APP, "identity", "the next worker")
        time.sleep(0.05)
    raise AssertionError("no worker came")


def stash(path):
    client = StashClient(path)
    client.ensure("sessions")
    client.put("sessions", "user:1", {"name": "Alice", "tags": ["a", b"b"]})
    client.put("sessions", "user:2", None)
    client.put("sessions", 3, "an integer key")
    assert client.get("sessions", "user:1")["name"] == "Alice"
    assert client.get("sessions", "user:2") is None
    assert client.keys("sessions") == ["user:1", "user:2", 3]
    assert client.keys("sessions", "user:*") == ["user:1", "user:2"]
    assert client.exists("sessions") and client.exists("sessions", "user:1")
    assert not client.exists("sessions", "nobody")
    assert client.info("sessions") == {"size": 3, "table": "sessions"}
    assert client.tables() == ["sessions"]
    assert client.delete("sessions", 3) and not client.delete("sessions", 3)
    client.clear("sessions")
    assert client.keys("sessions") == []
    client.delete_table("sessions")
    assert client.tables() == []


def stash_failures(path):
    client = StashClient(path)
    fails(DirtyError, lambda: client.get("sessions", "nobody"))
    fails(DirtyError, lambda: client.info("nowhere"))
    fails(DirtyError, lambda: client.put("sessions", ["unhashable"], 1))


def raw(path):
    """What has no method in a client."""
    with connected(path) as sock:
        assert ask(sock, type="status", id=1)["result"]["worker_count"] == 1
        assert "message type" in ask(sock, type="response", id=2, result=1)["error"]["message"]
        assert "message type" in ask(sock, type="end", id=2**64 - 1)["error"]["message"]
        assert "Unknown stash" in ask(sock, type="stash", id=3, op=99, table="t")["error"]["message"]
        assert "Unknown manage" in ask(sock, type="manage", id=4, op=9)["error"]["message"]


def timeout(path):
    with DirtyClient(path) as client:
        error = fails(DirtyError, lambda: client.execute(APP, "sleep", 2.5))
        assert "timed out" in error.message or "timeout" in error.message, error


def manage(path):
    with connected(path) as sock:
        added = ask(sock, type="manage", id=5, op=1, count=2)["result"]
        assert (added["operation"], added["spawned"]) == ("add", 2), added
        assert ask(sock, type="status", id=6)["result"]["worker_count"] == 3
        removed = ask(sock, type="manage", id=7, op=2, count=2)["result"]
        assert (removed["operation"], removed["removed"]) == ("remove", 2), removed


@contextlib.contextmanager
def connected(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(path)
        yield sock


def ask(sock, **message):
    DirtyProtocol.write_message(sock, message)
    return DirtyProtocol.read_message(sock)


def fails(kind, call):
    try:
        result = call()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, got {result!r}")


if __name__ == "__main__":
    main(sys.argv[1])
