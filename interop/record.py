"""Write testdata/sessions: the bytes between gunicorn's own clients and its arbiter.

    python record.py [RELEASE ...]      default: all in releases.txt
"""

import pathlib
import subprocess
import sys

import envs
from recording import instance, proxy

FOLDER = envs.HERE.parent / "testdata" / "sessions"
SESSION = pathlib.Path(proxy.__file__).with_name("session.py")


def main():
    pythons = envs.ensure()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for release in sys.argv[1:] or pythons:
        target = FOLDER / f"gunicorn-{release}.bin"
        target.write_bytes(record(pythons[release]))
        print(f"{target.stat().st_size:6} {target.name}")


def record(python):
    with instance.running(python) as arbiter:
        path = str(instance.ROOT / "client.sock")
        recorder = proxy.Proxy(path, arbiter)
        subprocess.run([python, "-B", SESSION, path], check=True, timeout=60)
        return recorder.close()


if __name__ == "__main__":
    main()
