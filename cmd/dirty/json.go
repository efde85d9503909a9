package main

import (
	"bufio"
	"fmt"
)

// printJSON writes a frame as a line of JSON, which parseJSON reads. The error
// tells of a payload that cannot be shown; out keeps its own errors.
func printJSON(out *bufio.Writer, f *frame) error {
	fmt.Fprintf(out, `{"offset":%d`, f.offset)
	if f.conn != 0 {
		fmt.Fprintf(out, `,"conn":%d`, f.conn)
	}
	if f.dir != unknownDirection {
		fmt.Fprintf(out, `,"dir":"%c"`, f.dir)
	}
	if f.hasHeader {
		fmt.Fprintf(out, `,"type":"%s","id":"%d","length":%d`, f.header.Type, f.header.RequestID, f.header.Length)
	}
	switch {
	case f.err != nil:
		printJSONError(out, f)
	case len(f.payload) > 0:
		out.WriteString(`,"payload":`)
		if err := writePayload(out, f.payload, true); err != nil {
			return err
		}
	}
	out.WriteString("}\n")
	return nil
}

// printJSONError writes the fault of a broken frame and what there is of it.
func printJSONError(out *bufio.Writer, f *frame) {
	out.WriteString(`,"error":{"message":`)
	writeString(out, f.message())
	fmt.Fprintf(out, `,"offset":%d}`, f.inputOffset(f.errPos))
	raw := f.payload
	if !f.hasHeader {
		raw = f.head
	}
	if len(raw) > 0 {
		out.WriteString(`,"raw":`)
		writeBase64(out, raw)
	}
	if len(f.payload) > 0 {
		out.WriteString(`,"partial":"`)
		writeBroken(escapingWriter{out}, f.payload)
		out.WriteByte('"')
	}
}
