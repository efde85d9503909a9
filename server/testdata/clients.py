"""gunicorn's own clients against the Go server whose socket is in GUNICORN_DIRTY_SOCKET.

    python clients.py

python_test.go starts the server and knows the actions that are called here.
"""

import asyncio
import math
import os
import socket
import threading
import time
import unittest

from gunicorn.dirty import errors, stash
from gunicorn.dirty import (
    DirtyClient,
    close_dirty_client,
    close_dirty_client_async,
    get_dirty_client,
    get_dirty_client_async,
)
from gunicorn.dirty.protocol import DirtyProtocol

PATH = os.environ["GUNICORN_DIRTY_SOCKET"]
APP = "go:App"
BIG = int(os.environ.get("BIG_MIB", "60")) << 20

VALUES = [
    None, True, False, 0, -1, 2**63 - 1, -(2**63), 0.0, -0.5, 1e300, math.inf,
    "", "text", "ümläut \U0001f600", "a\x00b", b"", b"\x00\xff", [], [1, [2, [3]]],
    {}, {"a": {"b": None}, "": 1, "ä": [True]},
]

# What the action "fail" makes of each name, and the class that comes out.
CLASSES = {
    "DirtyError": errors.DirtyError,
    "DirtyTimeoutError": errors.DirtyTimeoutError,
    "DirtyConnectionError": errors.DirtyConnectionError,
    "DirtyWorkerError": errors.DirtyWorkerError,
    "DirtyAppError": errors.DirtyAppError,
    "DirtyAppNotFoundError": errors.DirtyAppNotFoundError,
    "DirtyNoWorkersAvailableError": errors.DirtyNoWorkersAvailableError,
    "DirtyProtocolError": errors.DirtyProtocolError,
    "UnheardOfError": errors.DirtyError,
}

# Go's kinds of errors, and theirs.
KINDS = {
    "ErrTimeout": errors.DirtyTimeoutError,
    "ErrConnection": errors.DirtyConnectionError,
    "ErrWorker": errors.DirtyWorkerError,
    "ErrApp": errors.DirtyAppError,
    "ErrAppNotFound": errors.DirtyAppNotFoundError,
    "ErrNoWorkers": errors.DirtyNoWorkersAvailableError,
    "ErrProtocol": errors.DirtyProtocolError,
    "deadline": errors.DirtyTimeoutError,
}


class Client(unittest.TestCase):
    """The synchronous client."""

    def setUp(self):
        self.client = DirtyClient(PATH, timeout=60)
        self.addCleanup(self.client.close)

    def test_values(self):
        for value in VALUES:
            got = self.client.execute(APP, "echo", value)
            self.assertEqual((type(got), got), (type(value), value))
        self.assertTrue(math.isnan(self.client.execute(APP, "echo", math.nan)))
        self.assertEqual(math.copysign(1, self.client.execute(APP, "echo", -0.0)), -1)
        self.assertEqual(self.client.execute(APP, "echo", (1, 2)), [1, 2])
        self.assertEqual(list(self.client.execute(APP, "echo", {"z": 1, "a": 2})), ["a", "z"])

    def test_arguments(self):
        self.assertEqual(self.client.execute(APP, "add", 1, 2), 3)
        self.assertEqual(self.client.execute(APP, "add", 1, b=2), 3)
        self.assertEqual(self.client.execute(APP, "add", b=2, a=1), 3)
        self.assertEqual(self.client.execute(APP, "add"), 0)
        for args, kwargs, text in [
            ((1, 2, 3), {}, "add() takes at most 2 positional arguments, but got 3"),
            ((1,), {"a": 2}, "add() got more than one value for argument 'a'"),
            ((), {"c": 2}, "add() has no argument named 'c'"),
            (("x",), {}, "add() cannot take argument 'A'"),
        ]:
            with self.assertRaises(errors.DirtyAppError) as caught:
                self.client.execute(APP, "add", *args, **kwargs)
            self.assertIn(text, caught.exception.message)
            self.assertEqual(caught.exception.app_path, APP)
            self.assertEqual(caught.exception.action, "add")

    def test_the_connection_is_kept(self):
        self.client.connect()
        sock = self.client._sock
        for _ in range(100):
            self.client.execute(APP, "add", 1, 2)
        time.sleep(0.2)
        self.client.execute(APP, "add", 1, 2)
        self.assertEqual(list(self.client.stream(APP, "count", 3)), [0, 1, 2])
        self.assertIs(self.client._sock, sock)

    def test_context_manager(self):
        with DirtyClient(PATH) as client:
            self.assertEqual(client.execute(APP, "add", 1, 2), 3)
        self.assertIsNone(client._sock)
        self.assertEqual(client.execute(APP, "add", 1, 2), 3)
        client.close()

    def test_classes(self):
        for name, expected in CLASSES.items():
            with self.assertRaises(errors.DirtyError) as caught:
                self.client.execute(APP, "fail", name)
            error = caught.exception
            self.assertIs(type(error), expected, name)
            self.assertEqual(error.message, "failed as " + name)
            self.assertIn("failed as " + name, str(error))
            self.assertEqual(error.details["detail"], [1, None])
        for name, expected in KINDS.items():
            with self.assertRaises(expected) as caught:
                self.client.execute(APP, "kind", name)
            self.assertIs(type(caught.exception), expected, name)

    def test_attributes(self):
        for name, attributes in {
            "DirtyTimeoutError": {"timeout": 5},
            "DirtyConnectionError": {"socket_path": "/path"},
            "DirtyWorkerError": {"worker_id": 7, "traceback": "trace"},
            "DirtyAppError": {"app_path": "a:B", "action": "c", "traceback": "trace"},
            "DirtyNoWorkersAvailableError": {"app_path": "a:B"},
        }.items():
            with self.assertRaises(errors.DirtyError) as caught:
                self.client.execute(APP, "fail", name)
            for attribute, value in attributes.items():
                self.assertEqual(getattr(caught.exception, attribute), value)

    def test_go_errors(self):
        with self.assertRaises(errors.DirtyAppError) as caught:
            self.client.execute(APP, "kind", "plain")
        self.assertEqual(caught.exception.message, "a plain error")
        self.assertEqual(caught.exception.app_path, APP)
        self.assertEqual(caught.exception.action, "kind")
        self.assertIsNone(caught.exception.traceback)
        with self.assertRaises(errors.DirtyAppError) as caught:
            self.client.execute(APP, "kind", "panic")
        self.assertEqual(caught.exception.message, "internal error")
        with self.assertRaises(errors.DirtyAppError) as caught:
            self.client.execute(APP, "kind", "unsendable")
        self.assertIn("unsupported type", caught.exception.message)
        self.assertEqual(self.client.execute(APP, "add", 1, 2), 3)

    def test_unknown(self):
        with self.assertRaises(errors.DirtyNoWorkersAvailableError) as caught:
            self.client.execute("no:App", "do")
        self.assertEqual(caught.exception.message, "No workers available for app: no:App")
        self.assertEqual(caught.exception.app_path, "no:App")
        with self.assertRaises(errors.DirtyAppError) as caught:
            self.client.execute(APP, "no")
        self.assertEqual(caught.exception.message, "Unknown action: no")
        with self.assertRaises(errors.DirtyNoWorkersAvailableError):
            list(self.client.stream("no:App", "do"))

    def test_stream(self):
        self.assertEqual(list(self.client.stream(APP, "count", 5)), [0, 1, 2, 3, 4])
        self.assertEqual(list(self.client.stream(APP, "count", 0)), [])
        self.assertEqual(sum(self.client.stream(APP, "count", n=5000)), 4999 * 2500)
        self.assertEqual(list(self.client.stream(APP, "values")), VALUES[:4])
        self.assertEqual(self.client.execute(APP, "add", 1, 2), 3)

    def test_stream_fails(self):
        got = []
        with self.assertRaises(errors.DirtyAppError) as caught:
            for chunk in self.client.stream(APP, "break", 3):
                got.append(chunk)
        self.assertEqual(got, [0, 1, 2])
        self.assertEqual(caught.exception.message, "the stream broke")
        self.assertEqual(self.client.execute(APP, "add", 1, 2), 3)
        with self.assertRaises(errors.DirtyAppError):
            list(self.client.stream(APP, "count", "x"))

    def test_a_stream_that_is_left(self):
        before = self.client.execute(APP, "cancelled")
        with DirtyClient(PATH) as client:
            for chunk in client.stream(APP, "forever"):
                self.assertEqual(chunk, "token")
                break
        self.wait_for_cancel(before)

    def wait_for_cancel(self, before):
        for _ in range(500):
            if self.client.execute(APP, "cancelled") > before:
                return
            time.sleep(0.01)
        self.fail("the handler was not cancelled")

    def test_the_wrong_kind_of_call(self):
        with self.assertRaisesRegex(errors.DirtyError, "Unknown response type: chunk"):
            self.client.execute(APP, "count", 3)
        self.assertEqual(list(self.client.stream(APP, "add", 1, 2)), [])

    def test_timeout(self):
        before = self.client.execute(APP, "cancelled")
        with DirtyClient(PATH, timeout=0.1) as client:
            with self.assertRaises(errors.DirtyTimeoutError) as caught:
                client.execute(APP, "wait")
            self.assertEqual(caught.exception.timeout, 0.1)
        self.wait_for_cancel(before)
        with DirtyClient(PATH, timeout=0.1) as client:
            with self.assertRaises(errors.DirtyTimeoutError):
                list(client.stream(APP, "wait"))

    def test_no_server(self):
        with self.assertRaises(errors.DirtyConnectionError) as caught:
            DirtyClient(PATH + ".none").execute(APP, "add", 1, 2)
        self.assertEqual(caught.exception.socket_path, PATH + ".none")

    def test_big(self):
        # This client reads with quadratic effort: the asynchronous one reads BIG.
        self.assertEqual(self.client.execute(APP, "size", bytes(BIG)), BIG)
        data = os.urandom(1 << 20) * min(BIG >> 20, 16)
        self.assertEqual(self.client.execute(APP, "echo", data), data)
        self.assertEqual(len(self.client.execute(APP, "text", 1 << 20)), 1 << 20)
        with self.assertRaises(errors.DirtyAppError) as caught:
            self.client.execute(APP, "text", 65 << 20)
        self.assertIn("too large", caught.exception.message)
        chunks = [len(chunk) for chunk in self.client.stream(APP, "blobs", 8)]
        self.assertEqual(chunks, [4 << 20] * 8)

    def test_thread_local(self):
        client = get_dirty_client()
        self.assertIs(get_dirty_client(), client)
        self.assertEqual(client.execute(APP, "add", 1, 2), 3)
        close_dirty_client()
        self.assertIsNot(get_dirty_client(), client)
        close_dirty_client()

    def test_threads(self):
        failures = []

        def work(number):
            try:
                for i in range(20):
                    client = get_dirty_client()
                    self.assertEqual(client.execute(APP, "add", number, i), number + i)
                    self.assertEqual(list(client.stream(APP, "count", 3)), [0, 1, 2])
                    stash.put("threads", f"{number}:{i}", [number, i])
                    self.assertEqual(stash.get("threads", f"{number}:{i}"), [number, i])
                    if i % 7 == 0:
                        with self.assertRaises(errors.DirtyAppError):
                            client.execute(APP, "kind", "plain")
                close_dirty_client()
                stash._get_client().close()
            except BaseException as error:  # pylint: disable=broad-except
                failures.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(len(stash.keys("threads")), 1000)
        self.assertEqual(len(stash.keys("threads", "7:*")), 20)
        stash.delete_table("threads")


class AsyncClient(unittest.IsolatedAsyncioTestCase):
    """The asynchronous client."""

    async def asyncSetUp(self):
        self.client = DirtyClient(PATH, timeout=60)

    async def asyncTearDown(self):
        await self.client.close_async()

    async def test_values(self):
        for value in VALUES:
            self.assertEqual(await self.client.execute_async(APP, "echo", value), value)
        self.assertEqual(await self.client.execute_async(APP, "add", 1, b=2), 3)

    async def test_the_connection_is_kept(self):
        await self.client.connect_async()
        writer = self.client._writer
        for _ in range(100):
            await self.client.execute_async(APP, "add", 1, 2)
        self.assertEqual([c async for c in self.client.stream_async(APP, "count", 3)], [0, 1, 2])
        self.assertIs(self.client._writer, writer)

    async def test_context_manager(self):
        async with DirtyClient(PATH) as client:
            self.assertEqual(await client.execute_async(APP, "add", 1, 2), 3)

    async def test_classes(self):
        for name, expected in CLASSES.items():
            with self.assertRaises(errors.DirtyError) as caught:
                await self.client.execute_async(APP, "fail", name)
            self.assertIs(type(caught.exception), expected, name)

    async def test_stream(self):
        got = [chunk async for chunk in self.client.stream_async(APP, "count", 5000)]
        self.assertEqual(got, list(range(5000)))
        self.assertEqual([c async for c in self.client.stream_async(APP, "count", 0)], [])
        with self.assertRaisesRegex(errors.DirtyAppError, "the stream broke"):
            async for _ in self.client.stream_async(APP, "break", 3):
                pass
        self.assertEqual(await self.client.execute_async(APP, "add", 1, 2), 3)

    async def test_a_stream_that_is_left(self):
        before = await self.client.execute_async(APP, "cancelled")
        async with DirtyClient(PATH) as client:
            async for _ in client.stream_async(APP, "forever"):
                break
        await self.wait_for_cancel(before)

    async def wait_for_cancel(self, before):
        for _ in range(500):
            if await self.client.execute_async(APP, "cancelled") > before:
                return
            await asyncio.sleep(0.01)
        self.fail("the handler was not cancelled")

    async def test_timeout(self):
        before = await self.client.execute_async(APP, "cancelled")
        async with DirtyClient(PATH, timeout=0.1) as client:
            with self.assertRaises(errors.DirtyTimeoutError):
                await client.execute_async(APP, "wait")
        await self.wait_for_cancel(before)

    async def test_the_wrong_kind_of_call(self):
        with self.assertRaisesRegex(errors.DirtyError, "Unknown response type: chunk"):
            await self.client.execute_async(APP, "count", 3)
        self.assertEqual([c async for c in self.client.stream_async(APP, "add", 1, 2)], [])

    async def test_no_server(self):
        with self.assertRaises(errors.DirtyConnectionError):
            await DirtyClient(PATH + ".none").execute_async(APP, "add", 1, 2)

    async def test_big(self):
        data = os.urandom(1 << 20) * (BIG >> 20)
        self.assertEqual(await self.client.execute_async(APP, "echo", data), data)

    async def test_many_at_once(self):
        async def work(number):
            async with DirtyClient(PATH) as client:
                for i in range(10):
                    self.assertEqual(await client.execute_async(APP, "add", number, i), number + i)

        await asyncio.gather(*(work(n) for n in range(50)))

    async def test_context_local(self):
        client = await get_dirty_client_async()
        self.assertIs(await get_dirty_client_async(), client)
        self.assertEqual(await client.execute_async(APP, "add", 1, 2), 3)
        await close_dirty_client_async()


class Stash(unittest.TestCase):
    """StashClient, and the functions of the module, which have the same names."""

    def setUp(self):
        client = stash.StashClient(PATH, timeout=60)
        self.addCleanup(client.close)
        self.both = [("client", client), ("module", stash)]

    def test_methods(self):
        for table, s in self.both:
            self.assertIs(s.exists(table), False)
            self.assertIsNone(s.ensure(table))
            self.assertIs(s.exists(table), True)
            self.assertIn(table, s.tables())
            self.assertEqual(s.info(table), {"size": 0, "table": table})
            for number, value in enumerate(VALUES):
                self.assertIsNone(s.put(table, f"v:{number}", value))
                got = s.get(table, f"v:{number}")
                self.assertEqual((type(got), got), (type(value), value))
            self.assertEqual(s.info(table)["size"], len(VALUES))
            self.assertEqual(s.keys(table), [f"v:{n}" for n in range(len(VALUES))])
            self.assertEqual(s.keys(table, "v:?"), [f"v:{n}" for n in range(10)])
            self.assertEqual(s.keys(table, pattern="v:[!0-8]"), ["v:9"])
            self.assertIs(s.exists(table, "v:1"), True)
            self.assertIs(s.delete(table, "v:1"), True)
            self.assertIs(s.delete(table, "v:1"), False)
            self.assertIs(s.exists(table, "v:1"), False)
            self.assertIsNone(s.clear(table))
            self.assertEqual(s.keys(table), [])
            self.assertIsNone(s.delete_table(table))
            self.assertNotIn(table, s.tables())

    def test_misses(self):
        for table, s in self.both:
            self.assertIsNone(s.get(table, "k"))
            self.assertEqual(s.get(table, "k", "default"), "default")
            s.ensure(table)
            self.assertEqual(s.get(table, "k", default=5), 5)
            s.delete_table(table)
            with self.assertRaises(stash.StashTableNotFoundError) as caught:
                s.info(table)
            self.assertEqual(caught.exception.table_name, table)
            self.assertEqual(s.keys(table), [])
            self.assertIs(s.delete(table, "k"), False)

    def test_keys(self):
        for table, s in self.both:
            keys = ["5", 5, b"5", 5.5, True, 0]
            for key in keys:
                s.put(table, key, repr(key))
            for key in keys:
                self.assertEqual(s.get(table, key), repr(key))
            got = s.keys(table)
            self.assertEqual([(type(k), k) for k in got], [(type(k), k) for k in keys])
            self.assertEqual(s.get(table, 1), "True")
            self.assertEqual(s.get(table, False), "0")
            with self.assertRaisesRegex(stash.StashError, "unhashable type: 'list'"):
                s.put(table, [1], 1)
            s.put(table, math.nan, 1)
            self.assertEqual(s.get(table, math.nan), 1)  # as an arbiter never does, see DIFFERENCES.md
            s.delete_table(table)

    def test_an_error_is_a_value(self):
        stash.put("errors", "k", {"error": "key_not_found"})
        self.assertEqual(stash.get("errors", "k"), {"error": "key_not_found"})
        stash.delete_table("errors")

    def test_table(self):
        for name, table in [
            ("t1", stash.table("t1")),
            ("t2", stash.StashTable(stash.StashClient(PATH), "t2")),
        ]:
            self.assertEqual(table.name, name)
            table["a"] = {"n": 1}
            table["b"] = None
            table["c"] = 3
            self.assertEqual(table["a"], {"n": 1})
            self.assertIsNone(table["b"])
            with self.assertRaises(KeyError):
                table["missing"]  # pylint: disable=pointless-statement
            self.assertIn("a", table)
            self.assertNotIn("missing", table)
            self.assertEqual(list(table), ["a", "b", "c"])
            self.assertEqual(len(table), 3)
            self.assertEqual(table.get("missing", 7), 7)
            self.assertEqual(table.keys("[ab]"), ["a", "b"])
            self.assertEqual(list(table.items()), [("a", {"n": 1}), ("b", None), ("c", 3)])
            self.assertEqual(list(table.values()), [{"n": 1}, None, 3])
            del table["a"]
            with self.assertRaises(KeyError):
                del table["a"]
            table.clear()
            self.assertEqual(len(table), 0)
            table._client.delete_table(name)
            with self.assertRaises(stash.StashTableNotFoundError):
                len(table)

    def test_big(self):
        stash.put("big", "k", bytes(BIG))
        data = os.urandom(1 << 20) * 2
        stash.put("big", "k", data)
        self.assertEqual(stash.get("big", "k"), data)
        stash.delete_table("big")

    def test_context_manager(self):
        with stash.StashClient(PATH) as client:
            client.put("context", "k", 1)
        self.assertEqual(stash.get("context", "k"), 1)
        stash.delete_table("context")

    def test_no_server(self):
        with self.assertRaises(stash.StashError):
            stash.StashClient(PATH + ".none").get("t", "k")


class Control(unittest.TestCase):
    """What gunicornc sends: status and manage."""

    def ask(self, message):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(60)
            sock.connect(PATH)
            DirtyProtocol.write_message(sock, message)
            return DirtyProtocol.read_message(sock)

    def test_status(self):
        answer = self.ask({"type": DirtyProtocol.MSG_TYPE_STATUS, "id": 1})
        self.assertEqual(answer["type"], DirtyProtocol.MSG_TYPE_RESPONSE)
        status = answer["result"]
        self.assertEqual(status["arbiter_pid"], int(os.environ["SERVER_PID"]))
        self.assertEqual(status["apps"], [APP])
        self.assertEqual(status["worker_count"], 1)
        (worker,) = status["workers"]
        self.assertEqual(worker, {"pid": status["arbiter_pid"], "age": 1, "apps": [APP],
                                  "booted": True, "last_heartbeat": 0.0})

    def test_manage(self):
        answer = self.ask({"type": DirtyProtocol.MSG_TYPE_MANAGE, "id": 1, "op": 1, "count": 2})
        self.assertEqual(answer["type"], DirtyProtocol.MSG_TYPE_ERROR)
        self.assertEqual(answer["error"]["message"], "this server has no workers to add")


if __name__ == "__main__":
    unittest.main()
