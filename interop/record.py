"""Write testdata/sessions: the bytes between gunicorn's own clients and its arbiter.

    python record.py RELEASE ...
    python record.py                those in releases.txt that have no recording yet

gunicorn now and then loses the request of a worker that dies. The recording is
then made again.
"""

import pathlib
import subprocess
import sys

import envs
from recording import instance, proxy

FOLDER = envs.HERE.parent / "testdata" / "sessions"
SESSION = pathlib.Path(proxy.__file__).with_name("session.py")
ATTEMPTS = 5


def main():
    if sys.argv[1:]:
        record(sys.argv[1:])
    else:
        record_missing()


def record_missing():
    record(release for release in envs.releases() if not file_of(release).exists())


def record(releases):
    pythons = envs.ensure()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for release in releases:
        target = file_of(release)
        target.write_bytes(session_of(pythons[release]))
        print(f"{target.stat().st_size:6} {target.name}")


def file_of(release):
    return FOLDER / f"gunicorn-{release}.bin"


def session_of(python):
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return record_once(python)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            if attempt == ATTEMPTS:
                raise
            print(f"once more: {error}", file=sys.stderr)


def record_once(python):
    with instance.running(python) as arbiter:
        path = str(instance.ROOT / "client.sock")
        recorder = proxy.Proxy(path, arbiter)
        subprocess.run([python, "-B", SESSION, path], check=True, timeout=60)
        return recorder.close()


if __name__ == "__main__":
    main()
