"""Frame headers, good and bad."""

import struct

MAX_PAYLOAD = 2**26
TYPES = (0x01, 0x02, 0x03, 0x04, 0x05, 0x10, 0x11, 0x12)

IDS = sorted({0, 1, 2**64 - 1, 0x0102030405060708, 0x4744010147440101}
             | {2**power + step for power in range(8, 64, 8) for step in (-1, 0, 1)}
             | {2**63 - 1, 2**63, 2**63 + 1})
LENGTHS = (0, 1, 255, 256, 65535, 65536, 2**24, MAX_PAYLOAD - 1, MAX_PAYLOAD)


def good():
    """(name, type, length, id)"""
    for kind in TYPES:
        for length in LENGTHS:
            yield f"type_{kind:02x}_length_{length}", kind, length, 5
        yield f"type_{kind:02x}_last_id", kind, 0, 2**64 - 1
    for number in IDS:
        yield f"id_{number}", 0x01, 7, number


def pack(magic=b"GD", version=1, kind=0x01, length=0, number=5):
    return struct.pack(">2sBBIQ", magic, version, kind, length, number)


def bad():
    """(name, bytes); where there are two faults, the first to be looked for decides."""
    for length in range(16):
        yield f"short_{length}", pack()[:length]
    for magic in (b"\x00\x00", b"GE", b"FD", b"DG", b"gd", b"G\x00", b"\xff\xff", b"{\"", b"\x00G"):
        yield f"magic_{magic.hex()}", pack(magic=magic)
    for version in (0, 2, 3, 16, 127, 128, 255):
        yield f"version_{version}", pack(version=version)
    for kind in range(256):
        if kind not in TYPES:
            yield f"type_{kind:02x}", pack(kind=kind)
    for length in (MAX_PAYLOAD + 1, 2**27, 2**31 - 1, 2**31, 2**32 - 1):
        for kind in TYPES:
            yield f"type_{kind:02x}_length_{length}", pack(kind=kind, length=length)
    yield "short_and_magic", b"XX\x01"
    yield "magic_and_version", pack(magic=b"XX", version=9)
    yield "magic_and_all", pack(magic=b"XX", version=9, kind=0, length=2**32 - 1)
    yield "version_and_type", pack(version=9, kind=0)
    yield "version_and_all", pack(version=9, kind=0, length=2**32 - 1)
    yield "type_and_length", pack(kind=0, length=2**32 - 1)
    yield "json", b'\x00\x00\x00\x2e{"type": "response"'
    yield "http", b"GET / HTTP/1.1\r\n\r\n"
    yield "zeros", bytes(16)
