"""gunicorn's own codec, timed: python codec.py FOLDER

FOLDER has a file NAME.tlv for each value. Says what it runs on, then answers
each line "encode N NAME" or "decode N NAME" with the nanoseconds of CPU time that N
times took.
"""

import pathlib
import platform
import sys
import time

import gunicorn
from gunicorn.dirty.tlv import TLVEncoder


def encode(value, data, count):
    work = TLVEncoder.encode
    begin = time.process_time_ns()
    for _ in range(count):
        work(value)
    return time.process_time_ns() - begin


def decode(value, data, count):
    work = TLVEncoder.decode_full
    begin = time.process_time_ns()
    for _ in range(count):
        work(data)
    return time.process_time_ns() - begin


def main():
    data = {path.stem: path.read_bytes() for path in pathlib.Path(sys.argv[1]).glob("*.tlv")}
    values = {}
    print(f"gunicorn {gunicorn.__version__} on {platform.python_implementation()} {platform.python_version()}", flush=True)
    for line in sys.stdin:
        what, count, name = line.rstrip("\n").split(" ", 2)
        if name not in values:
            values[name] = TLVEncoder.decode_full(data[name])
            if TLVEncoder.encode(values[name]) != data[name]:
                raise SystemExit(f"{name}: gunicorn encodes it in another way")
        print({"encode": encode, "decode": decode}[what](values[name], data[name], int(count)), flush=True)


if __name__ == "__main__":
    main()
