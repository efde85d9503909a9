"""One gunicorn under paths that look the same on every machine.

Tracebacks travel in error messages, so the interpreter, gunicorn and the app
are run through symbolic links in one fixed folder.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path("/tmp/dirty-record")
APP = pathlib.Path(__file__).resolve().parent.parent / "app"

ASK = "import sys, sysconfig; print(sys.base_prefix, sysconfig.get_path('purelib'), 'python%d.%d' % sys.version_info[:2], sep='\\n')"


@contextlib.contextmanager
def running(python):
    """The path of the arbiter's socket of a gunicorn run by this interpreter."""
    answer = subprocess.run([python, "-c", ASK], check=True, capture_output=True, text=True).stdout
    prefix, packages, program = answer.splitlines()
    ROOT.mkdir(mode=0o700)  # fails if another recording is under way
    try:
        (ROOT / "python").symlink_to(prefix)
        (ROOT / "site").symlink_to(packages)
        (ROOT / "app").symlink_to(APP)
        run = ROOT / "run"
        run.mkdir()
        process = start(program, run)
        try:
            yield wait_for(run / "arbiter.sock", process)
        finally:
            stop(process)
    finally:
        shutil.rmtree(ROOT)


def start(program, run):
    environment = {
        "PATH": os.defpath, "HOME": str(run), "TMPDIR": str(run), "XDG_RUNTIME_DIR": str(run),
        "PYTHONHOME": str(ROOT / "python"), "PYTHONPATH": str(ROOT / "site"), "PYTHONDONTWRITEBYTECODE": "1",
        "DIRTY_INTEROP_DIR": str(run), "DIRTY_INTEROP_SETTINGS": '{"dirty_timeout": 2}',
    }
    command = [ROOT / "python" / "bin" / program, "-m", "gunicorn", "-c", ROOT / "app" / "gunicorn.conf.py"]
    with open(run / "log", "w") as log:
        return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log,
                                start_new_session=True)


def stop(process):
    """Orphaned workers outlive the master; they are still in its process group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=3)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(path, process):
    """Until the arbiter and its worker listen: then no request is refused."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        if listens(path) and any(map(listens, path.parent.glob("gunicorn-dirty-*/worker-*.sock"))):
            return str(path)
        time.sleep(0.05)
    raise RuntimeError((path.parent / "log").read_text())


def listens(path):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
