"""gunicorn's own clients call a Go server that is restarted again and again.

    python takeover.py

takeover_linux_test.go starts it, and ends it by closing its standard input. The
socket is in GUNICORN_DIRTY_SOCKET. It prints the numbers of calls as JSON. With the
argument "killed" the server is killed too: then the stash may be lost.
"""

import asyncio
import json
import os
import sys
import threading
import time

from gunicorn.dirty.client import DirtyClient
from gunicorn.dirty.stash import StashClient

PATH = os.environ["GUNICORN_DIRTY_SOCKET"]
APP = "app:App"
STASH = "killed" not in sys.argv
PAUSE = 0.01  # seconds, after a failed call

stop = threading.Event()
lock = threading.Lock()
counts = {"ok": 0, "failed": 0, "wrong": 0}
failures = []


def note(kind, text=""):
    with lock:
        counts[kind] += 1
        if text and len(failures) < 10:
            failures.append(text)


def call_sync(number):
    """Each thread keeps its connection, as a thread of gunicorn's workers does."""
    client = DirtyClient(PATH, timeout=20)
    i = 0
    while not stop.is_set():
        i += 1
        try:
            if i % 10 == 0:
                right = list(client.stream(APP, "count", 20)) == list(range(20))
            elif i % 10 == 5:
                right = client.execute(APP, "slow", i) == i
            else:
                right = client.execute(APP, "echo", number, i) == [number, i]
            note("ok" if right else "wrong", "" if right else "sync")
        except Exception as e:
            note("failed", f"sync: {e!r}")
            time.sleep(PAUSE)


def call_stash(number):
    """What was put is there, and nothing older."""
    client = StashClient(PATH, timeout=20)
    i = 0
    while not stop.is_set():
        i += 1
        try:
            client.put("python", number, i)
            right = client.get("python", number) == i
            note("ok" if right else "wrong", "" if right else "stash")
        except Exception as e:
            note("failed", f"stash: {e!r}")
            time.sleep(PAUSE)


async def call_async(number):
    client = DirtyClient(PATH, timeout=20)
    i = 0
    while not stop.is_set():
        i += 1
        try:
            if i % 10 == 0:
                chunks = [chunk async for chunk in client.stream_async(APP, "count", 20)]
                right = chunks == list(range(20))
            elif i % 10 == 5:
                right = await client.execute_async(APP, "slow", i) == i
            else:
                right = await client.execute_async(APP, "echo", number, i) == [number, i]
            note("ok" if right else "wrong", "" if right else "async")
        except Exception as e:
            note("failed", f"async: {e!r}")
            await asyncio.sleep(PAUSE)


async def call_all_async():
    await asyncio.gather(*(call_async(n) for n in range(4)))


threads = [threading.Thread(target=call_sync, args=(n,)) for n in range(4)]
if STASH:
    threads += [threading.Thread(target=call_stash, args=(n,)) for n in range(2)]
threads.append(threading.Thread(target=lambda: asyncio.run(call_all_async())))
for t in threads:
    t.start()
sys.stdin.read()
stop.set()
for t in threads:
    t.join()
print(json.dumps({**counts, "failures": failures}))
