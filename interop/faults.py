"""Make the table of docs/FAULTS.md of what the tests measured.

    go test -json -run ClientFault -count 10 ./interop | python3 interop/faults.py

Each line "FAULT name: sees ...; back after N ms" of a test is one measurement. A
row is a fault; it is two where Python up to 3.11 and Python from 3.12 differ. A
share tells in how many of the measurements something was seen.
"""

import collections
import json
import re
import statistics
import sys

LINE = re.compile(r"FAULT (?P<fault>.*?): sees (?P<sees>.*); back after (?P<ms>-?\d+) ms")
WHERE = re.compile(r"(?P<release>\d+\.\d+\.\d+)-py(?P<python>\d+\.\d+)")
RETRY = re.compile(r" \[(?P<word>not safe|safe) to retry\]")

Measurement = collections.namedtuple("Measurement", "sees ms release python")


def main():
    faults, failed = read(sys.stdin)
    print(table(faults))
    print(f"{sum(map(len, faults.values()))} measurements, {len(failed)} failed tests", file=sys.stderr)
    for test in sorted(failed):
        print("failed:", test, file=sys.stderr)


def read(lines):
    faults, failed = collections.defaultdict(list), set()
    for line in lines:
        if not line.startswith("{"):
            continue  # what go says of itself
        event = json.loads(line)
        where = WHERE.search(event.get("Test", ""))
        if event["Action"] == "fail" and where:
            failed.add(event["Test"])
        found = LINE.search(event.get("Output", ""))
        if found:
            sees = tuple(re.split(r"(?<=\]), ", found["sees"]))
            faults[found["fault"]].append(Measurement(sees, int(found["ms"]), where["release"], where["python"]))
    return faults, failed


def table(faults):
    everything = [measurement for found in faults.values() for measurement in found]
    rows = ["| fault | what the caller sees | SafeToRetry | back after: median, max | gunicorn; Python; runs |", "|---|---|---|---|---|"]
    for fault in sorted(faults):
        for found in groups(faults[fault]):
            times = [measurement.ms for measurement in found]
            cells = (fault, *sights(found), f"{duration(statistics.median(times))}, {duration(max(times))}", where(found, everything))
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def groups(found):
    """The measurements, in two parts if Python 3.12 makes a difference."""
    old = [measurement for measurement in found if number(measurement.python) < (3, 12)]
    new = [measurement for measurement in found if number(measurement.python) >= (3, 12)]
    if not old or not new:
        return [found]
    medians = sorted(statistics.median(measurement.ms for measurement in part) for part in (old, new))
    if medians[1] - medians[0] > 500 and medians[1] > 2 * medians[0]:
        return [old, new]
    if {sight for m in old for sight in m.sees} == {sight for m in new for sight in m.sees}:
        return [found]
    return [old, new]


def sights(found):
    """What was seen and how often, and whether that can be retried."""
    count = collections.Counter(sight for measurement in found for sight in measurement.sees)
    sees, retry = [], []
    for sight, n in count.most_common():
        share = "" if n == len(found) else f" ({100 * n / len(found):.0f} %)"
        sees.append(RETRY.sub("", sight).strip().replace("|", r"\|") + share)
        word = RETRY.search(sight)
        retry.append("-" if not word else "yes" if word["word"] == "safe" else "no")
    return "<br>".join(sees), "<br>".join(retry)


def where(found, everything):
    """The releases and Pythons of these, or all, and their number."""
    texts = []
    for column in ("release", "python"):
        versions = sorted({getattr(measurement, column) for measurement in found}, key=number)
        whole = {getattr(measurement, column) for measurement in everything} - {"25.0.3"}
        texts.append("all" if set(versions) == whole else ", ".join(versions))
    return "; ".join(texts) + f"; {len(found)}"


def number(version):
    return tuple(int(part) for part in version.split("."))


def duration(ms):
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


if __name__ == "__main__":
    main()
