"""Make a virtual environment for each of some gunicorn releases.

    python envs.py [RELEASE ...]          make what is missing; print "release<TAB>interpreter" lines
    python envs.py --list [RELEASE ...]   print only those that exist already; make nothing

The releases are those of releases.txt if none are given. Environments live in
DIRTY_INTEROP_CACHE (default: the user's cache folder) and are made from
DIRTY_INTEROP_PYTHON (default: the interpreter that runs this). Several processes
may call this at once.
"""

import fcntl
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def releases():
    """The gunicorn releases that are tested, oldest first."""
    return (HERE / "releases.txt").read_text().split()


def cache_folder():
    configured = os.environ.get("DIRTY_INTEROP_CACHE")
    if configured:
        return pathlib.Path(configured)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "gunicorn-go-dirty"


def base_python():
    """The interpreter to build from, and a tag that tells it from others."""
    python = os.environ.get("DIRTY_INTEROP_PYTHON") or sys.executable
    code = "import sys; print(sys.implementation.cache_tag, '%d.%d.%d' % sys.version_info[:3])"
    tag = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return python, "-".join(tag.stdout.split())


def existing(wanted=None):
    """{release: interpreter} of the environments that are there."""
    _, tag = base_python()
    found = {}
    for release in wanted or releases():
        python = interpreter(environment(tag, release))
        if python.exists():
            found[release] = str(python)
    return found


def ensure(wanted=None):
    """Make what is missing. {release: interpreter} of all that are wanted."""
    _, tag = base_python()
    for release in wanted or releases():
        make(environment(tag, release), lambda folder: install(folder, f"gunicorn=={release}"))
    return existing(wanted)


def environment(tag, release):
    return cache_folder() / f"{tag}-gunicorn-{release}"


def interpreter(target):
    return target / "bin" / "python"


def make(target, fill):
    """Make a folder of the cache if it is missing: fill makes its content.

    It is made beside the target and renamed, so that a half-made one is never
    seen. The rename breaks the scripts in bin/ of an environment, so everything
    runs as `python -m`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return
        print(f"making {target.name}", file=sys.stderr)
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="new-", dir=target.parent))
        try:
            fill(scratch)
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def install(folder, *requirements):
    """Make a virtual environment that has these."""
    python, _ = base_python()
    quietly([python, "-m", "venv", folder])
    quietly([interpreter(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])


def quietly(command):
    """Run a command; standard output stays free for our own answer."""
    subprocess.run(command, check=True, stdout=sys.stderr)


def main():
    wanted = [argument for argument in sys.argv[1:] if argument != "--list"]
    found = existing(wanted) if "--list" in sys.argv[1:] else ensure(wanted)
    for release, python in found.items():
        print(f"{release}\t{python}")


if __name__ == "__main__":
    main()
