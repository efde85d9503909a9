"""Bring the repository up to releases.txt. Run it after a line was added there.

    python update.py

It writes the vectors anew, records a session of each release that has none, and
names the newest release in the package comment (../doc.go). It stops if gunicorn's
releases disagree about a vector: then the new release speaks another protocol.
"""

import re

import envs
import record
import vectors

PACKAGE_COMMENT = envs.HERE.parent / "doc.go"
RANGE = re.compile(r"(?<=gunicorn releases from )[\d.]*\d to [\d.]*\d(?=\.)")


def main():
    vectors.write(vectors.agreed_answers())
    record.record_missing()
    name_range()


def name_range():
    oldest, *_, newest = envs.releases()
    text, count = RANGE.subn(f"{oldest} to {newest}", PACKAGE_COMMENT.read_text())
    if count != 1:
        raise SystemExit(f"{PACKAGE_COMMENT} has {count} sentences that name the range, want 1")
    PACKAGE_COMMENT.write_text(text)
    print(f"{oldest} to {newest}")


if __name__ == "__main__":
    main()
