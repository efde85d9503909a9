package main

import (
	"bufio"
	"fmt"

	"github.com/gunicorn-go/dirty"
)

// printText writes a frame as a line for people, which parseText reads:
//
//	#1 > request id=1 size=97 {"app_path": "app:App"}
//
// Errors of out are kept by out.
func printText(out *bufio.Writer, f *frame) {
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
		out.WriteString(dirty.Diagnose(f.payload))
	}
	out.WriteByte('\n')
	if f.err != nil {
		fmt.Fprintf(out, "! offset %d: %s\n", f.inputOffset(f.errPos), f.message())
	}
}
