package codecs

import (
	"bytes"

	"github.com/gunicorn-go/dirty"
)

// The names of our codec, of other ways to use it, and of the physical limits.
const (
	ours      = "dirty"
	oursDict  = "dirty, Dict"
	oursAlias = "dirty, AliasBytes"
	oursValid = "dirty, Validate"
	limit     = "copy"
	clone     = "bytes.Clone"
)

type dirtyStream struct {
	buf  []byte
	opts dirty.DecodeOptions
}

func (s *dirtyStream) Encode(v any) (_ []byte, err error) {
	s.buf, err = dirty.Append(s.buf[:0], v)
	return s.buf, err
}

func (s *dirtyStream) Decode(data []byte, v any) error { return s.opts.Unmarshal(data, v) }

// validStream checks, and builds nothing.
type validStream struct{ dirtyStream }

func (validStream) Decode(data []byte, _ any) error { return dirty.Validate(data) }

// copyStream copies our encoding from one warm place to another. A codec that
// looks at every byte cannot be faster. Large bytes are copied to the address
// that they have in an encoding, behind its header: to copy to an odd address
// may take twice as long.
type copyStream struct{ head, body, buf []byte }

func (s *copyStream) Encode(v any) (_ []byte, err error) {
	if s.buf == nil {
		if s.body, err = dirty.Marshal(v); err != nil {
			return nil, err
		}
		s.buf = make([]byte, len(s.body))
		var blob []byte
		switch v := v.(type) {
		case []byte:
			blob = v
		case *[]byte:
			blob = *v
		}
		if blob != nil {
			s.head, s.body = s.body[:len(s.body)-len(blob)], blob
		}
	}
	copy(s.buf[copy(s.buf, s.head):], s.body)
	return s.buf, nil
}

func (s *copyStream) Decode(data []byte, _ any) error {
	if len(s.buf) < len(data) {
		s.buf = make([]byte, len(data))
	}
	copy(s.buf, data)
	return nil
}

// cloneStream copies to fresh memory, as a decoder of bytes must if it does not
// alias them.
type cloneStream struct {
	copyStream
	kept []byte
}

func (s *cloneStream) Decode(data []byte, _ any) error {
	s.kept = bytes.Clone(data)
	return nil
}
