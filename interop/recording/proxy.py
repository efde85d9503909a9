"""A proxy between clients and an arbiter that keeps what passes.

The file: the magic, then records of a direction ('>' to the arbiter, '<' to
the client), the number of the connection from 1 (uint32, big-endian), a length
(uint32) and that many bytes. Records end where a read ended, not where frames do.
"""

import socket
import struct
import threading

MAGIC = b"GDCAP\x00\x01\n"
MAX_RECORD = 1 << 20


class Proxy:
    def __init__(self, path, target):
        self._target = target
        self._records = [MAGIC]
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        """All that was recorded."""
        self._listener.close()
        with self._lock:
            return b"".join(self._records)

    def _accept(self):
        number = 0
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            number += 1
            arbiter = socket.socket(socket.AF_UNIX)
            arbiter.connect(self._target)
            for direction, source, sink in ((b">", client, arbiter), (b"<", arbiter, client)):
                threading.Thread(target=self._pump, args=(direction, number, source, sink), daemon=True).start()

    def _pump(self, direction, number, source, sink):
        """Record first, then pass on: an answer never stands before its question."""
        while data := source.recv(MAX_RECORD):
            with self._lock:
                self._records.append(direction + struct.pack(">II", number, len(data)) + data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
