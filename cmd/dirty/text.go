package main

import (
	"bufio"
	"fmt"
)

// printText writes a frame as a line for people, which parseText reads:
//
//	#1 > request id=1 size=97 {"app_path": "app:App"}
//
// The error tells of a payload that cannot be shown; out keeps its own errors.
func printText(out *bufio.Writer, f *frame) error {
	if f.conn != 0 {
		fmt.Fprintf(out, "#%d ", f.conn)
	}
	if f.hasHeader {
		fmt.Fprintf(out, "%c %s id=%d size=%d", f.dir, f.header.Type, f.header.RequestID, f.header.Length)
	} else {
		fmt.Fprintf(out, "%c broken header h'%x'", f.dir, f.head)
	}
	if len(f.payload) > 0 {
		out.WriteByte(' ')
		if f.err != nil {
			writeBroken(out, f.payload)
		} else if err := writePayload(out, f.payload, false); err != nil {
			return err
		}
	}
	out.WriteByte('\n')
	if f.err != nil {
		fmt.Fprintf(out, "! offset %d: %s\n", f.inputOffset(f.errPos), printable(f.message()))
	}
	return nil
}
