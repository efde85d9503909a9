"""Bytes that no well-behaved encoder writes. Each function yields (name, bytes).

Some decode all the same (a bool of 0x02, a key given twice); most do not.
"""

import struct

from .shapes import TEXTS, Dice, tree

NONE, BOOL, INT, FLOAT, BYTES, STRING, LIST, DICT = 0x00, 0x01, 0x05, 0x06, 0x10, 0x11, 0x20, 0x21
KINDS = (NONE, BOOL, INT, FLOAT, BYTES, STRING, LIST, DICT)


def head(kind, length):
    return struct.pack(">BI", kind, length)


def string(content):
    content = content if isinstance(content, bytes) else content.encode()
    return head(STRING, len(content)) + content


def pairs(*items):
    """A dict of encoded keys and values, with duplicates if so given."""
    return head(DICT, len(items)) + b"".join(key + value for key, value in items)


def array(*items):
    return head(LIST, len(items)) + b"".join(items)


def integer(number):
    return struct.pack(">Bq", INT, number)


def all_inputs(encode):
    """encode is gunicorn's; the mutations start from what it writes."""
    for source in (bools, duplicates, deep, unknown_kinds, bad_keys, hostile_sizes, bad_text, trailing):
        for name, data in source():
            yield f"{source.__name__}/{name}", data
    for source in (truncations, mutations, mixed_up):
        for name, data in source(encode):
            yield f"{source.__name__}/{name}", data


def bools():
    for byte in (0x02, 0x03, 0x10, 0x7F, 0x80, 0xFE, 0xFF):
        yield f"{byte:02x}", bytes([BOOL, byte])
        yield f"{byte:02x}_in_list", array(bytes([BOOL, byte]), b"\x00")


def duplicates():
    """The last value wins and stands where the key stood first."""
    one, two, three = integer(1), integer(2), integer(3)
    a, b, empty = string("a"), string("b"), string("")
    yield "twice", pairs((a, one), (a, two))
    yield "thrice", pairs((a, one), (a, two), (a, three))
    yield "around", pairs((a, one), (b, two), (a, three))
    yield "empty_key", pairs((empty, one), (empty, two))
    yield "same_value", pairs((a, one), (a, one))
    yield "other_kind", pairs((a, one), (a, string("x")), (b, array()), (b, pairs()))
    yield "to_none", pairs((a, one), (a, b"\x00"))
    yield "two_keys", pairs((a, one), (b, one), (b, two), (a, two))
    yield "in_dropped_value", pairs((a, pairs((b, one), (b, two))), (a, three))
    yield "in_kept_value", pairs((a, one), (a, pairs((b, one), (b, two))))
    yield "in_list", array(pairs((a, one), (a, two)), pairs((b, one), (b, two)))
    for seed in range(40):
        dice = Dice(seed)
        yield f"generated_{seed}", pairs(*(
            (string(dice.pick(TEXTS[:4])), integer(i)) for i in range(5 + dice.below(8))))


def deep():
    for depth in (900, 950, 980, 1100, 2000, 5000):
        yield f"lists_{depth}", head(LIST, 1) * (depth - 1) + array()
        yield f"dicts_{depth}", (head(DICT, 1) + string("")) * (depth - 1) + pairs()
        yield f"both_{depth}", (head(LIST, 1) + head(DICT, 1) + string("k")) * (depth // 2 - 1) + array(pairs())
    yield "lists_1500_second_item", head(LIST, 2) + integer(1) + head(LIST, 1) * 1500 + array()
    yield "lists_1500_unfinished", head(LIST, 1) * 1500


def unknown_kinds():
    for code in range(256):
        if code not in KINDS:
            yield f"{code:02x}", bytes([code])
    for code in (0x02, 0x04, 0x07, 0x0F, 0x12, 0x1F, 0x22, 0x80, 0xFF):
        yield f"{code:02x}_with_data", bytes([code]) + bytes(8)
        yield f"{code:02x}_in_list", array(integer(1), bytes([code, 0, 0, 0, 0]))
        yield f"{code:02x}_in_dict", pairs((string("k"), bytes([code, 0, 0, 0, 0])))
        yield f"{code:02x}_as_key", pairs((bytes([code, 0, 0, 0, 0]), integer(1)))


def bad_keys():
    keys = {"none": b"\x00", "bool": b"\x01\x01", "int": integer(1), "float": struct.pack(">Bd", FLOAT, 1.5),
            "bytes": head(BYTES, 1) + b"k", "list": array(), "dict": pairs(),
            "full_list": array(string("k")), "full_dict": pairs((string("k"), integer(1)))}
    for name, key in keys.items():
        yield name, pairs((key, integer(1)))
        yield f"{name}_second", pairs((string("a"), integer(1)), (key, integer(2)))
        yield f"{name}_inside", array(pairs((string("a"), pairs((key, b"\x00")))))


def hostile_sizes():
    for name, kind, limit in (("bytes", BYTES, 2**26), ("string", STRING, 2**26), ("list", LIST, 2**20), ("dict", DICT, 2**20)):
        for size in (limit - 1, limit, limit + 1, 2**27, 2**31 - 1, 2**31, 2**32 - 1):
            yield f"{name}_{size}", head(kind, size)
        for size in (limit, limit + 1, 2**32 - 1):
            yield f"{name}_{size}_with_data", head(kind, size) + bytes(32)
            yield f"{name}_{size}_in_list", array(head(kind, size))
            yield f"{name}_{size}_in_dict", pairs((string("k"), head(kind, size)))
        for size in (1, 2, 255, 65536):
            yield f"{name}_{size}_empty", head(kind, size)
    yield "key_too_large", pairs((head(STRING, 2**26 + 1), b""))
    yield "list_one_short", head(LIST, 3) + integer(1) + integer(2)
    yield "dict_one_short", head(DICT, 2) + string("a") + integer(1)
    yield "dict_without_value", head(DICT, 1) + string("a")
    yield "lists_multiply", head(LIST, 2**20) * 50


BAD_TEXT = {
    **{f"lone_{byte:02x}": bytes([byte]) for byte in (0x80, 0x81, 0x8F, 0x90, 0xA0, 0xBE, 0xBF)},
    **{f"never_{byte:02x}": bytes([byte, 0x80, 0x80, 0x80]) for byte in (0xC0, 0xC1, *range(0xF5, 0x100))},
    **{f"cut_{lead:02x}": bytes([lead]) for lead in (0xC2, 0xDF, 0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4)},
    **{f"cut_{lead.hex()}": lead for lead in (b"\xe0\xa0", b"\xe6\xb0", b"\xef\xbf", b"\xf0\x90", b"\xf0\x9f\x90", b"\xf4\x8f\xbf")},
    **{f"overlong_{seq.hex()}": seq for seq in (
        b"\xc0\x80", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf")},
    **{f"surrogate_{seq.hex()}": seq for seq in (
        b"\xed\xa0\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb0\x8d")},
    **{f"beyond_{seq.hex()}": seq for seq in (b"\xf4\x90\x80\x80", b"\xf4\xbf\xbf\xbf", b"\xf7\xbf\xbf\xbf")},
    **{f"continuation_{seq.hex()}": seq for seq in (
        b"\xc2\x41", b"\xc2\xc2", b"\xe6\x41\xb4", b"\xe6\xb0\x41", b"\xf0\x41\x90\x8d", b"\xf0\x9f\x41\x8d",
        b"\xf0\x9f\x90\x41", b"\xf0\x9f\x90\xff", b"\xc2\xa9\xa9")},
}


def bad_text():
    for name, content in BAD_TEXT.items():
        yield name, string(content)
        yield f"{name}_inside", string(b"ok " + content + b" ok")
        yield f"{name}_key", pairs((string(content), integer(1)))
    yield "latin1", string("caf\u00e9".encode("latin-1"))
    yield "utf16", string("\ufeffok".encode("utf-16-be"))
    yield "split_over_length", head(STRING, 2) + "\u6c34".encode() + b"\x00"
    yield "in_list", array(integer(1), string(b"\xff"))
    yield "in_dict", pairs((string("k"), string(b"\xff")))


def trailing():
    whole = {"none": b"\x00", "bool": b"\x01\x00", "int": integer(1), "float": struct.pack(">Bd", FLOAT, 1.5),
             "bytes": head(BYTES, 1) + b"b", "string": string("s"), "list": array(integer(1)),
             "dict": pairs((string("k"), integer(1))), "empty_list": array(), "empty_dict": pairs()}
    for name, data in whole.items():
        yield f"{name}_zero", data + b"\x00"
        yield f"{name}_ff", data + b"\xff"
        yield f"{name}_itself", data + data


CUT = {
    "scalars": [None, True, -2, 1.5, b"by", "str"],
    "dict": {"a": 1, "\u6c34": [b"\x00", {}], "": None},
    "nested": [[[["x"]]], {"k": {"k": {"k": False}}}],
    "wide_text": "z\u00df\u6c34\U0001f34c",
    "request": {"app_path": "a:A", "action": "x", "args": [1.5], "kwargs": {"k": "v"}},
    "error": {"error": {"error_type": "DirtyError", "message": "no", "details": {}}},
}


def truncations(encode):
    for name, value in CUT.items():
        data = encode(value)
        for length in range(len(data)):
            yield f"{name}_{length}", data[:length]
    for value in (7, 1.5, True):
        data = encode(value)
        for length in range(1, len(data)):
            yield f"{type(value).__name__}_{length}", data[:length]


def mutations(encode):
    """One byte of a generated tree changed."""
    for seed in range(1000, 1400):
        dice = Dice(seed)
        data = bytearray(encode([tree(dice, 3), tree(dice, 3)]))
        data[dice.below(len(data))] = dice.pick([*KINDS, 0x02, 0x7F, 0x80, 0xFF, dice.bits(8)])
        yield f"{seed}", bytes(data)


def mixed_up(encode):
    """Two trees joined at places that do not fit."""
    for seed in range(2000, 2120):
        dice = Dice(seed)
        first, second = encode(tree(dice, 3)), encode(tree(dice, 3))
        yield f"{seed}", first[:dice.below(len(first) + 1)] + second[dice.below(len(second)):]
