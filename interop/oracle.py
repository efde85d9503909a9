"""Answer questions about bytes with gunicorn's own code, for as long as they come.

Both ways a message is a length (uint32, big-endian) and that many bytes.
A question is a command and the bytes in question:

    v   decode a value            answer: the value, encoded again
    m   decode a frame            answer: the message, encoded again
    h   decode a header           answer: the header, encoded again

An answer is a status and bytes: 'v' and what the command promises, 'e' and the
text of an error, 'd' and the text of an error for want of stack.
"""

import struct
import sys

from gunicorn.dirty.protocol import BinaryProtocol
from gunicorn.dirty.tlv import TLVEncoder


class Sink:
    """The part of a socket that gunicorn writes a message to."""

    def __init__(self):
        self.written = b""

    def sendall(self, data):
        self.written += data


def value(data):
    return TLVEncoder.encode(TLVEncoder.decode_full(data))


def message(data):
    """By write_message, but for payload keys that would take the place of type and id."""
    kind, number, payload = BinaryProtocol.decode_message(data)
    sink = Sink()
    BinaryProtocol.write_message(sink, {**payload, "type": kind, "id": number})
    return sink.written


def header(data):
    kind, number, length = BinaryProtocol.decode_header(data)
    return BinaryProtocol.encode_header(kind, number, length)


COMMANDS = {b"v": value, b"m": message, b"h": header}


def answer(question):
    try:
        return b"v" + COMMANDS[question[:1]](question[1:])
    except Exception as error:
        deep = isinstance(error, RecursionError) or "recursion" in str(error)
        return (b"d" if deep else b"e") + str(error).encode("utf-8", "replace")


def main():
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while size := source.read(4):
        reply = answer(source.read(*struct.unpack(">I", size)))
        sink.write(struct.pack(">I", len(reply)) + reply)
        sink.flush()


if __name__ == "__main__":
    main()
