"""gunicorn's own client, timed for the benchmark: python bench.py SOCKET APP

Reads lines such as "call 100", and answers each in nanoseconds: "call" and "burst"
with the median time of a call, with or without a pause before it, "stream" and
"eager" with the time for a chunk of a stream, with or without work on each.
"""

import statistics
import sys
import time

from gunicorn.dirty.client import DirtyClient


PAUSE = 200_000  # nanoseconds; both as in bench_test.go
WORK = 50_000


def spin(nanoseconds):
    begin = time.perf_counter_ns()
    while time.perf_counter_ns() - begin < nanoseconds:
        pass


def call(client, app, count, pause=PAUSE):
    times = []
    for _ in range(count):
        spin(pause)
        begin = time.perf_counter_ns()
        client.execute(app, "identity", 1)
        times.append(time.perf_counter_ns() - begin)
    return statistics.median(times)


def burst(client, app, count):
    return call(client, app, count, pause=0)


def stream(client, app, count, work=WORK):
    begin = time.perf_counter_ns()
    chunks = 0
    for _ in client.stream(app, "count", count):
        spin(work)
        chunks += 1
    if chunks != count:
        raise SystemExit(f"{chunks} chunks, want {count}")
    return (time.perf_counter_ns() - begin) / count


def eager(client, app, count):
    return stream(client, app, count, work=0)


def main():
    socket, app = sys.argv[1:]
    client = DirtyClient(socket)
    for line in sys.stdin:
        what, count = line.split()
        print({"call": call, "burst": burst, "stream": stream, "eager": eager}[what](client, app, int(count)), flush=True)


if __name__ == "__main__":
    main()
