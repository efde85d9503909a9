"""Write testdata/vectors: what real gunicorn makes of the inputs in vectorgen.

    python vectors.py            write the files
    python vectors.py --check    compare them with what gunicorn says now

Every release in releases.txt is asked, and all must give the same answers.
Nothing here knows the protocol: hex, verdicts and reasons are gunicorn's.
"""

import json
import pathlib
import platform
import subprocess
import sys

import envs

FOLDER = envs.HERE.parent / "testdata" / "vectors"

ABOUT = {
    "values.json": "Encoding value gives hex; decoding hex gives value.",
    "decode_only.json": "Decoding hex gives value (the last of equal keys wins, at the place of the first); "
                        "encoding value need not give hex.",
    "bad_values.json": "Decoding hex fails. Where there are several faults, reason is the one that gunicorn meets first.",
    "headers.json": "Packing type, length and id gives hex; parsing hex gives them back.",
    "bad_headers.json": "Parsing hex as a header fails; bytes after the 16th do not matter.",
    "messages.json": "Encoding a message of this type, id and fields gives hex; decoding hex gives type, id and payload. "
                     "fields are named as gunicorn names the arguments; a field that is absent was not given. "
                     "In an error, fields.error is the dict that gunicorn makes of the exception.",
    "bad_messages.json": "Decoding hex as one frame fails.",
}


def main():
    if sys.argv[1:] == ["--emit"]:
        from vectorgen import emit
        json.dump(emit.everything(), sys.stdout)
        return
    files = agreed_answers()
    if sys.argv[1:] == ["--check"]:
        check(files)
    else:
        write(files)


def agreed_answers():
    """{file name: [line, ...]}, the same from every release or else the end."""
    answers = {}
    for release, python in envs.ensure().items():
        command = [python, "-B", pathlib.Path(__file__), "--emit"]
        answers[release] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    first, *others = answers
    for other in others:
        for name, lines in answers[first].items():
            if answers[other][name] != lines:
                sys.exit(f"{name}: gunicorn {first} and {other} differ")
    return answers[first]


def write(files):
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        provenance = {"script": "interop/vectors.py", "gunicorn": envs.releases(), "python": base_version()}
        head = f'{{"about": {json.dumps(ABOUT[name])},\n"provenance": {json.dumps(provenance)},\n"vectors": [\n'
        (FOLDER / name).write_text(head + ",\n".join(lines) + "\n]}\n")
        print(f"{len(lines):5} {name}")


def base_version():
    """The Python that the environments are made from need not be ours."""
    python, tag = envs.base_python()
    return platform.python_version() if python == sys.executable else tag.rsplit("-", 1)[1]


def check(files):
    for name, lines in files.items():
        stored = (FOLDER / name).read_text().splitlines()[3:-1]
        for number, (ours, theirs) in enumerate(zip(stored, lines), start=4):
            if ours.removesuffix(",") != theirs:
                sys.exit(f"{name}:{number}: gunicorn says {theirs[:200]}")
        if len(stored) != len(lines):
            sys.exit(f"{name}: {len(stored)} vectors are stored, gunicorn makes {len(lines)}")
        print(f"{len(lines):5} {name} ok")


if __name__ == "__main__":
    main()
