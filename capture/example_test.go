package capture_test

import (
	"bytes"
	"fmt"
	"io"
	"log"

	"github.com/gunicorn-go/dirty/capture"
)

// A program that sees the bytes of a connection records them.
func ExampleWriter() {
	var file bytes.Buffer // an *os.File, as a rule
	w, err := capture.NewWriter(&file)
	if err != nil {
		log.Fatal(err)
	}
	if err := w.Write(capture.ToArbiter, 1, []byte("a question")); err != nil {
		log.Fatal(err)
	}
	if err := w.Write(capture.FromArbiter, 1, []byte("an answer")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(file.Len(), "bytes")
	// Output: 45 bytes
}

// All bytes of a capture, in the order in which they were seen.
func ExampleReader() {
	file := bytes.NewReader([]byte("GDCAP\x00\x01\n" +
		">\x00\x00\x00\x01\x00\x00\x00\x0aa question" +
		"<\x00\x00\x00\x01\x00\x00\x00\x09an answer"))
	r := capture.NewReader(file)
	for {
		record, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("connection %d %v %q\n", record.Conn, record.Direction, record.Data)
	}
	// Output:
	// connection 1 > "a question"
	// connection 1 < "an answer"
}
