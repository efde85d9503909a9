"""gunicorn's own clients at the socket of a front, before several real gunicorns.

    python cluster_clients.py SOCKET

cluster_test.go starts all of it. The app is that of app/dirtyapp.py.
"""

import asyncio
import sys
import threading
import unittest

from gunicorn.dirty import errors
from gunicorn.dirty.client import DirtyClient

PATH = sys.argv.pop()
APP = "dirtyapp:App"
CALLERS = 6


class Sync(unittest.TestCase):
    def setUp(self):
        self.client = DirtyClient(PATH, timeout=60)

    def tearDown(self):
        self.client.close()

    def test_answers_are_the_own_ones(self):
        wrong = []

        def work(caller):
            client = DirtyClient(PATH, timeout=60)
            for i in range(20):
                mine = caller * 1000 + i
                if client.execute(APP, "late", mine, 0.005) != mine:
                    wrong.append(mine)
                if list(client.stream(APP, "numbered", mine, 10)) != [[mine, n] for n in range(10)]:
                    wrong.append(mine)
            client.close()

        threads = [threading.Thread(target=work, args=(n,)) for n in range(CALLERS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(wrong, [])

    def test_large(self):
        self.assertEqual(self.client.execute(APP, "size", bytes(60 << 20)), 60 << 20)

    def test_errors(self):
        with self.assertRaises(errors.DirtyAppError) as caught:
            self.client.execute(APP, "fail", "boom")
        self.assertIn("boom", str(caught.exception))
        with self.assertRaises(errors.DirtyNoWorkersAvailableError) as caught:
            self.client.execute("no:App", "do")
        self.assertIn("nothing ran", str(caught.exception))

    def test_stream_that_breaks(self):
        got = []
        with self.assertRaises(errors.DirtyAppError):
            for value in self.client.stream(APP, "break_off", 3):
                got.append(value)
        self.assertEqual(got, [0, 1, 2])


class Async(unittest.IsolatedAsyncioTestCase):
    async def test_answers_are_the_own_ones(self):
        async def work(caller):
            client = DirtyClient(PATH, timeout=60)
            for i in range(20):
                mine = caller * 1000 + i
                self.assertEqual(await client.execute_async(APP, "late", mine, 0.005), mine)
                chunks = [c async for c in client.stream_async(APP, "numbered", mine, 10)]
                self.assertEqual(chunks, [[mine, n] for n in range(10)])
            await client.close_async()

        await asyncio.gather(*(work(n) for n in range(CALLERS)))

    async def test_large(self):
        client = DirtyClient(PATH, timeout=60)
        self.assertEqual(await client.execute_async(APP, "size", bytes(60 << 20)), 60 << 20)
        await client.close_async()


unittest.main()
