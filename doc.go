// Package dirty is the wire codec of gunicorn's dirty workers: the pool of
// Python processes (gunicorn 25.1 and later) that does the long, blocking
// work of a web app behind a Unix socket.
//
// # Layers
//
// Every message is a frame: a 16-byte header and a payload, one encoded
// value. All integers are big-endian.
//
//	 0      1      2       3      4             8                     16
//	+------+------+-------+------+-------------+----------------------+----
//	| 'G'  | 'D'  |  0x01 | type | length      | request id           | payload
//	+------+------+-------+------+-------------+----------------------+----
//
// A value is a type code and what belongs to it:
//
//	00 None                     10 bytes:  length (4), bytes
//	01 bool: 00 or 01           11 string: length (4), UTF-8
//	05 int64 (8)                20 list:   count (4), values
//	06 float64 (8)              21 dict:   count (4), strings and values in turn
//
// Three layers are public, and each is useful without the next:
//
//   - [Header] is the header as a value: [ParseHeader], [Header.AppendBinary].
//   - [Frame] is a header and its payload, not decoded, for proxies and
//     routers: [Reader.ReadFrame], [Writer.WriteFrame].
//   - [Message] is a typed message, such as [Request] or [Chunk]:
//     [AppendMessage], [DecodeMessage], and [Reader], [Writer] and [Conn] for
//     streams and connections.
//
// Below them is the encoding of values, which is of use by itself:
// [Marshal], [Append], [Unmarshal] and [Validate] in the manner of
// encoding/json; the Append functions and [Decoder] for code that wants no
// reflection and no boxes; [Diagnose] for people.
//
// # Security
//
// Everything that is read is taken to be hostile. The bytes of a value are
// checked whole before anything is built: lengths, counts, nesting, UTF-8 and
// type codes, against the bytes that are there and against [Limits], which
// are on by default. So nothing panics, nothing recurses deeper than
// Limits.MaxDepth, and the memory for a payload is bounded: what the header
// announces is allocated only as it arrives, and what the payload decodes to
// is at most 512 MiB, with the default Limits.MaxMemory. Lower the limits
// where peers are not trusted. Errors never contain payload bytes or values;
// keys they may name.
//
// Not bounded are: the memory of a typed destination whose elements are
// larger than their any forms; the time that a peer may take, for which
// connections have deadlines; and what a Marshaler or an Unmarshaler of the
// caller does.
//
// Package client, in the folder of that name, calls an arbiter with all this.
//
// The facts about gunicorn are those of releases 25.1.0 to 26.1.0, which
// speak the same protocol; docs/SPEC.md has them all, and the folder interop
// checks them against the real one.
package dirty
