"""The dirty app that the tests call. Every public method is an action."""

import asyncio
import contextlib
import os
import socket
import subprocess
import time

from gunicorn.dirty.app import DirtyApp
from gunicorn.dirty.errors import DirtyError

VALUES = {
    "none": None,
    "true": True,
    "false": False,
    "int_min": -(2**63),
    "int_max": 2**63 - 1,
    "float": 1.5,
    "inf": float("inf"),
    "negative_zero": -0.0,
    "bytes": bytes(range(256)),
    "string": "z\u00df\u6c34\U0001f34c\x00\ufeff",
    "list": [None, True, 1, 1.5, b"b", "s", [], {}],
    "tuple": (1, 2),
    "dict": {"b": 1, "a": {"": None}},
    "odd_keys": {2: "int", None: "none", True: "bool", 1.5: "float", b"b": "bytes", (1, 2): "tuple"},
    "same_key_twice": {2: "first", "2": "second"},
}

UNENCODABLE = {
    "set": {1},
    "object": object(),
    "int_overflow": 2**63,
    "surrogate": "\ud800",
    "long_list": [None] * (2**20 + 1),
}


FOLDER = os.environ["DIRTY_INTEROP_DIR"]


def tell(*words):
    """Tell the tests of an event, if they listen."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(" ".join(words).encode(), os.path.join(FOLDER, "events"))


class OutOfPaper(Exception):
    """An exception that only this app knows."""


class OutOfInk(DirtyError):
    """An exception of gunicorn's own family."""


class App(DirtyApp):
    def echo(self, *args, **kwargs):
        return {"args": list(args), "kwargs": kwargs}

    def identity(self, value):
        return value

    def kind(self, value):
        """What Python sees, so that a caller can tell "1" from 1 and b"1"."""
        return type(value).__name__

    def size(self, value):
        return len(value)

    def value(self, name):
        return VALUES[name]

    def unencodable(self, name):
        return UNENCODABLE[name]

    def zeros(self, count):
        return bytes(count)

    def nones(self, count):
        return [None] * count

    def nested(self, depth):
        """depth lists inside each other."""
        value = []
        for _ in range(depth - 1):
            value = [value]
        return value

    def depth(self, value):
        """The inverse of nested."""
        found = 0
        while isinstance(value, list):
            found += 1
            value = value[0] if value else None
        return found

    def sleep(self, seconds):
        time.sleep(seconds)
        return "slept"

    def hold(self, token, seconds):
        """A sleep that tells when it begins and ends."""
        tell("begin", token)
        time.sleep(seconds)
        tell("end", token)
        return token

    hold_too = hold

    def hold_while(self, token, path):
        """A hold that lasts while there is a file."""
        tell("begin", token)
        while os.path.exists(path):
            time.sleep(0.01)
        tell("end", token)
        return token

    def late(self, value, seconds):
        """The value, which no other call has, after a while."""
        time.sleep(seconds)
        return value

    def late_chunk(self, value, seconds):
        time.sleep(seconds)
        yield value

    def run(self, command, environment):
        """What a process prints that this worker starts."""
        environment = {**os.environ, **environment}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def stash_put(self, table, items):
        """Store pairs by gunicorn's own client, which 25.0 does not have."""
        from gunicorn.dirty import stash
        for key, value in items:
            stash.put(table, key, value)

    def stash_kinds(self, table):
        """What Python sees in a table."""
        from gunicorn.dirty import stash
        return {key: type(stash.get(table, key)).__name__ for key in stash.keys(table)}

    def stash_put_odd_keys(self, table):
        self.stash_put(table, [(key, repr(key)) for key in (5, "5", 1.5, True, None, b"b")])

    def die(self):
        os._exit(1)

    def pid(self):
        return os.getpid()

    def parent(self):
        """The arbiter's process id, while it lives."""
        return os.getppid()

    def fail(self, message):
        raise ValueError(message)

    def fail_own(self, message):
        raise OutOfPaper(message)

    def fail_dirty(self, message):
        raise OutOfInk(message, details={"tray": 2})

    def count(self, n):
        yield from range(n)

    def chunks(self, values):
        yield from values

    def stall(self, seconds):
        yield "before"
        time.sleep(seconds)
        yield "after"

    def break_off(self, n):
        yield from range(n)
        raise ValueError("broke off")

    def bad_chunk(self):
        yield "good"
        yield {1}

    def blocks(self, token, count, size):
        """So many chunks of that size."""
        tell("begin", token)
        for _ in range(count):
            yield bytes(size)
        tell("end", token)

    def ticks(self, token, seconds):
        """Chunks without end; tells when the generator is closed."""
        tell("begin", token)
        n = 0
        try:
            while True:
                yield n
                n += 1
                time.sleep(seconds)
        except GeneratorExit:
            tell("left", token)
            raise
        finally:
            tell("over", token)

    def ticks_async(self, token, seconds):
        return ticks_async(token, seconds)

    def numbered(self, token, n):
        """Chunks that show whose they are."""
        for i in range(n):
            yield [token, i]

    def two_errors(self):
        """What makes a worker of 26.1 and before send two errors for one request."""
        try:
            yield {1}
        finally:
            raise ValueError("and another")

    def count_async(self, n):
        return count_async(n)

    def break_off_async(self, n):
        return break_off_async(n)


async def count_async(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i


async def break_off_async(n):
    async for i in count_async(n):
        yield i
    raise ValueError("broke off")


async def ticks_async(token, seconds):
    tell("begin", token)
    n = 0
    try:
        while True:
            yield n
            n += 1
            await asyncio.sleep(seconds)
    except GeneratorExit:
        tell("left", token)
        raise
    finally:
        tell("over", token)
