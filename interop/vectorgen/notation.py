"""Python values as the JSON text that the vector files use.

null, true, false, "text" and [...] stand for themselves; the rest is an object
with one key: {"int": "-5"}, {"float": "3ff8000000000000"} (the bits),
{"bytes": "00ff"}, {"dict": [["key", value], ...]}.
"""

import json
import struct


def text(value, quote=json.dumps):
    """One stack frame a level and no json.dumps of containers: values nest deeply."""
    if value is None or isinstance(value, (bool, str)):
        return quote(value)
    if isinstance(value, int):
        return f'{{"int": "{value}"}}'
    if isinstance(value, float):
        return f'{{"float": "{struct.pack(">d", value).hex()}"}}'
    if isinstance(value, bytes):
        return f'{{"bytes": "{value.hex()}"}}'
    parts = []
    if isinstance(value, (list, tuple)):
        for item in value:
            parts.append(text(item, quote))
        return "[" + ", ".join(parts) + "]"
    if isinstance(value, dict):
        for key, item in value.items():
            parts.append("[" + quote(str(key)) + ", " + text(item, quote) + "]")
        return '{"dict": [' + ", ".join(parts) + "]}"
    raise TypeError(type(value).__name__)


def value(plain):
    """The value that the notation stands for, of JSON that is decoded already."""
    if isinstance(plain, list):
        return [value(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    (kind, content), = plain.items()
    if kind == "int":
        return int(content)
    if kind == "float":
        return struct.unpack(">d", bytes.fromhex(content))[0]
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "dict":
        return {key: value(item) for key, item in content}
    raise ValueError(kind)
