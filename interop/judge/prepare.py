"""Get gunicorn's own source with its tests, and an interpreter that can run them.

    python prepare.py RELEASE            make what is missing; print the folder and the interpreter
    python prepare.py --list RELEASE     print them only if they exist already

Both are kept in the folder of ../envs.py.
"""

import hashlib
import pathlib
import shutil
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import envs  # noqa: E402

REQUIREMENTS = HERE / "requirements.txt"


def source(release):
    return envs.cache_folder() / f"source-of-gunicorn-{release}"


def environment():
    """Has another name when the requirements change."""
    _, tag = envs.base_python()
    return envs.cache_folder() / f"{tag}-judge-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:8]}"


def download(release, folder):
    """Unpack the source archive of a release, by the environment's pip: the system may have none."""
    envs.quietly([envs.interpreter(environment()), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                  "--no-binary", ":all:", "--dest", folder, f"gunicorn=={release}"])
    archive, = folder.iterdir()
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # early 3.10 and 3.11 lack it
    shutil.unpack_archive(archive, folder, **safely)
    archive.unlink()
    unpacked, = folder.iterdir()
    for item in list(unpacked.iterdir()):
        item.rename(folder / item.name)
    unpacked.rmdir()


def main():
    *options, release = sys.argv[1:]
    if options != ["--list"]:
        envs.make(environment(), lambda folder: envs.install(folder, "-r", REQUIREMENTS))
        envs.make(source(release), lambda folder: download(release, folder))
    if source(release).exists() and environment().exists():
        print(f"{source(release)}\t{envs.interpreter(environment())}")


if __name__ == "__main__":
    main()
