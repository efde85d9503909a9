"""gunicorn's own client, timed for the benchmark: python bench.py SOCKET APP

Reads lines "call N", "burst N" and "stream N" and answers each with the median
time of a call, with or without a pause before it, or the time for a chunk of a
stream of N, in nanoseconds.
"""

import statistics
import sys
import time

from gunicorn.dirty.client import DirtyClient


PAUSE = 200_000  # nanoseconds; as in bench_test.go


def call(client, app, count, pause=PAUSE):
    times = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        while time.perf_counter_ns() - begin < pause:
            pass
        begin = time.perf_counter_ns()
        client.execute(app, "identity", 1)
        times.append(time.perf_counter_ns() - begin)
    return statistics.median(times)


def burst(client, app, count):
    return call(client, app, count, pause=0)


def stream(client, app, count):
    begin = time.perf_counter_ns()
    chunks = sum(1 for _ in client.stream(app, "count", count))
    if chunks != count:
        raise SystemExit(f"{chunks} chunks, want {count}")
    return (time.perf_counter_ns() - begin) / count


def main():
    socket, app = sys.argv[1:]
    client = DirtyClient(socket)
    for line in sys.stdin:
        what, count = line.split()
        print({"call": call, "burst": burst, "stream": stream}[what](client, app, int(count)), flush=True)


if __name__ == "__main__":
    main()
