"""Python values as the JSON text that the vector files use.

null, true, false, "text" and [...] stand for themselves; the rest is an object
with one key: {"int": "-5"}, {"float": "3ff8000000000000"} (the bits),
{"bytes": "00ff"}, {"dict": [["key", value], ...]}.
"""

import json
import struct


def text(value):
    """One stack frame a level and no json.dumps of containers: values nest deeply."""
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value)
    if isinstance(value, int):
        return f'{{"int": "{value}"}}'
    if isinstance(value, float):
        return f'{{"float": "{struct.pack(">d", value).hex()}"}}'
    if isinstance(value, bytes):
        return f'{{"bytes": "{value.hex()}"}}'
    parts = []
    if isinstance(value, (list, tuple)):
        for item in value:
            parts.append(text(item))
        return "[" + ", ".join(parts) + "]"
    if isinstance(value, dict):
        for key, item in value.items():
            parts.append("[" + json.dumps(key) + ", " + text(item) + "]")
        return '{"dict": [' + ", ".join(parts) + "]}"
    raise TypeError(type(value).__name__)
