"""Python values to encode. Each function yields (name, value)."""

import struct

from .shapes import Dice, in_both, in_dict, in_list, nest, tree


def all_values():
    for source in (scalars, integers, floats, strings, byte_strings, containers,
                   odd_keys, nested, payloads, trees):
        for name, value in source():
            yield f"{source.__name__}/{name}", value


def scalars():
    yield "none", None
    yield "true", True
    yield "false", False


def integers():
    """Every power of two and its neighbours, both signs."""
    yield "0", 0
    for power in range(64):
        for step in (-1, 0, 1):
            number = 2**power + step
            if power and number < 2**63:
                yield f"2^{power}{step:+d}", number
            if power and -number >= -2**63:
                yield f"-(2^{power}{step:+d})", -number
    yield "digits", 1234567890123456789


def floats():
    patterns = {
        "0": 0x0, "smallest_denormal": 0x1, "denormal": 0x123456789, "largest_denormal": 0xFFFFFFFFFFFFF,
        "smallest_normal": 0x0010000000000000, "after_smallest_normal": 0x0010000000000001,
        "before_1": 0x3FEFFFFFFFFFFFFF, "1": 0x3FF0000000000000, "after_1": 0x3FF0000000000001,
        "largest": 0x7FEFFFFFFFFFFFFF, "infinity": 0x7FF0000000000000,
        "signalling_nan": 0x7FF0000000000001, "signalling_nan_payload": 0x7FF4DEADBEEF0001,
        "last_signalling_nan": 0x7FF7FFFFFFFFFFFF, "quiet_nan": 0x7FF8000000000000,
        "quiet_nan_payload": 0x7FF8DEADBEEF0001, "last_nan": 0x7FFFFFFFFFFFFFFF,
    }
    for name, bits in patterns.items():
        yield name, from_bits(bits)
        yield f"minus_{name}", from_bits(bits | 1 << 63)
    for exponent in range(-1070, 1024, 30):
        yield f"2^{exponent}", 2.0**exponent
    for number in (0.1, 0.5, 1 / 3, 1.5, 3.141592653589793, 1e15, 1e16, 1e21, 1e22, 1e23, 5e-7,
                   2.0**31, 2.0**32, 2.0**53 - 1, 2.0**53, 2.0**53 + 2, 2.0**63, -(2.0**63), 2.0**64,
                   16777217.0, 3.4028234663852886e38, 3.4028235677973366e38, 65504.0):
        yield f"decimal_{number!r}", number


def from_bits(bits):
    return struct.unpack(">d", struct.pack(">Q", bits))[0]


# The first and last character of every UTF-8 width, and characters that trip software up.
CODE_POINTS = [
    0x0, 0x1, 0x9, 0xA, 0xD, 0x1B, 0x20, 0x22, 0x27, 0x2F, 0x3C, 0x5C, 0x7E, 0x7F,
    0x80, 0x85, 0xA0, 0xAD, 0xFF, 0x100, 0x130, 0x301, 0x378, 0x3A3, 0x590, 0x600, 0x61C, 0x7BF, 0x7C0, 0x7FF,
    0x800, 0xFFF, 0x1000, 0x1E9E, 0x200B, 0x200D, 0x200E, 0x2028, 0x2029, 0x202E, 0x2060, 0x2066, 0x20AC,
    0x3000, 0x4E00, 0xAC00, 0xCFFF, 0xD000, 0xD7FF, 0xE000, 0xF8FF, 0xFB01, 0xFDCF, 0xFDD0, 0xFDEF, 0xFE0F,
    0xFEFF, 0xFFF9, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF,
    0x10000, 0x1F40D, 0x3FFFF, 0x40000, 0xE0001, 0xF0000, 0xFFFFF, 0x100000, 0x10FFFD,
] + [plane << 16 | last for plane in range(1, 17) for last in (0xFFFE, 0xFFFF)]


def strings():
    yield "empty", ""
    for point in CODE_POINTS:
        yield f"U+{point:04X}", chr(point)
        yield f"U+{point:04X}_inside", f"a{chr(point)}z"
    for length in (2, 3, 15, 16, 17, 127, 128, 254, 255, 256, 257, 4096):
        yield f"length_{length}", "x" * length
    for length in (127, 128, 21845):
        yield f"length_{length}_wide", "\u6c34" * length
    yield "all_ascii", "".join(map(chr, range(128)))
    yield "all_points", "".join(map(chr, CODE_POINTS))
    yield "family", "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    yield "zalgo", "a" + "\u0301" * 30
    yield "looks_like_json", '{"a": [1, null]}'
    yield "looks_like_tlv", "\x11\x00\x00\x00\x01a"


def byte_strings():
    yield "all", bytes(range(256))
    for byte in (0x00, 0x01, 0x0A, 0x20, 0x41, 0x7F, 0x80, 0xC0, 0xED, 0xFE, 0xFF):
        yield f"one_{byte:02x}", bytes([byte])
    for length in (0, *range(2, 18), 127, 128, 255, 256, 257, 4095, 4096, 65535):
        yield f"length_{length}", bytes(i * 7 & 0xFF for i in range(length))
    yield "not_utf8", b"\xff\xfe\xed\xa0\x80"
    yield "magic", b"GD\x01\x01"


ONE_OF_EACH = [None, True, 7, 1.5, b"b", "s", [], {}]


def containers():
    for length in (0, 1, 2, 3, 15, 16, 17, 127, 128, 255, 256, 257, 1000):
        yield f"list_{length}", [None] * length
        yield f"dict_{length}", {f"k{i}": i for i in range(length)}
    yield "list_of_each", ONE_OF_EACH
    yield "dict_of_each", {type(item).__name__: item for item in ONE_OF_EACH}
    yield "tuple", (1, (2, 3))
    for first in ONE_OF_EACH:
        yield f"list_{type(first).__name__}", [first]
        yield f"dict_{type(first).__name__}", {"k": first}
        for second in ONE_OF_EACH:
            pair = f"{type(first).__name__}_{type(second).__name__}"
            yield f"list_{pair}", [first, second]
            yield f"dict_{pair}", {"b": first, "a": second}
    for key in ("", " ", "\x00", "type", "id", "a.b", "a[0]", "\u6c34", "\ufeff", "self", "x" * 300):
        yield f"key_{key[:4]!a}", {key: 1}
    yield "keys_unsorted", {"c": 1, "a": 2, "b": 3, "": 4, "B": 5}
    yield "keys_alike", {"\u00e9": 1, "e\u0301": 2, "k": 3, "K": 4, "\u212a": 5}
    yield "rows", [{"id": i, "name": f"row {i}", "tags": ["a", "b"]} for i in range(20)]
    yield "matrix", [[float(i * j) for j in range(8)] for i in range(8)]


def odd_keys():
    """gunicorn writes str(key) for a key that is no string; two may then be alike."""
    keys = [0, 1, -1, 2**63 - 1, -(2**63), 2**64, 10**30, None, True, False,
            0.0, -0.0, 1.0, 1.5, 0.1, 1e16, 1e100, 1e-7, 5e-324, float("inf"), float("-inf"), float("nan"),
            b"", b"b", b"'", b'"', b"'\"", b"\x00\xff", (), (1,), (1, 2), ("a", None), ((1,), b"x", 1.5)]
    for key in keys:
        yield f"{key!a}", {key: "value"}
    yield "all_at_once", dict.fromkeys(keys)
    yield "int_and_string", {1: "int", "1": "string"}
    yield "string_and_int", {"1": "string", 1: "int", "z": 0}
    yield "none_and_string", {"None": 1, None: 2}
    yield "bool_and_string", {"True": 1, "a": 2, True: 3, "b": 4}
    yield "floats_and_strings", {1.5: 1, "1.5": 2, "nan": 3, float("nan"): 4}
    yield "inside", [{2: {2: [], "2": {}}}, {b"k": {("t",): None}}]


def nested():
    """Up to 890 levels: a little below what encoders allow by default."""
    for depth in (*range(2, 11), 16, 32, 64, 100, 128, 200, 255, 256, 257, 500, 512, 800, 890):
        for wrap in (in_list, in_dict, in_both):
            yield f"{wrap.__name__}_{depth}", nest(depth - 1, wrap, [])
    for depth in (3, 100, 889):
        for leaf in (None, 1, "leaf", b"leaf", {}):
            yield f"leaf_{type(leaf).__name__}_{depth}", nest(depth, in_both, leaf)
    yield "ladder", nest(60, lambda value, level: [level, value, {"level": level}], None)
    yield "bush", nest(6, lambda value, _level: [value, value], 0)


def payloads():
    """What messages carry in practice."""
    pixels = [i / 128 for i in range(128)]
    yield "model_request", {"app_path": "ml:Model", "action": "predict", "args": [pixels],
                            "kwargs": {"top_k": 5, "threshold": 0.25, "labels": True, "image": b"\x89PNG", "note": None}}
    yield "result", {"result": {"labels": ["cat", "dog"], "scores": [0.75, 0.25]}}
    yield "error", {"error": {"error_type": "DirtyAppError", "message": "boom",
                              "details": {"app_path": "a:A", "action": "x", "traceback": "Traceback\n"}}}
    yield "token", {"data": {"token": " the", "index": 3, "logprob": -0.125}}
    yield "status", {"result": {"arbiter_pid": 7, "workers": [{"pid": 8, "age": 1, "apps": ["a:A"], "booted": False,
                                                               "last_heartbeat": 0.5}], "worker_count": 1, "apps": ["a:A"]}}


def trees():
    for seed in range(700):
        dice = Dice(seed)
        yield f"{seed}", tree(dice, 1 + seed % 5)
