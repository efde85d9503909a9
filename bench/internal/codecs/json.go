package codecs

import (
	"bytes"
	"encoding/json"

	json2 "github.com/go-json-experiment/json"
	segmentio "github.com/segmentio/encoding/json"

	"github.com/gunicorn-go/dirty/bench/internal/values"
)

type jsonStream struct {
	enc *json.Encoder
	buf bytes.Buffer
}

func newJSON() *jsonStream {
	s := &jsonStream{}
	s.enc = json.NewEncoder(&s.buf)
	return s
}

func (s *jsonStream) Encode(v any) ([]byte, error) {
	s.buf.Reset()
	err := s.enc.Encode(v)
	return s.buf.Bytes(), err
}

func (s *jsonStream) Decode(data []byte, v any) error { return json.Unmarshal(data, v) }

type json2Stream struct{ buf bytes.Buffer }

func (s *json2Stream) Encode(v any) ([]byte, error) {
	s.buf.Reset()
	err := json2.MarshalWrite(&s.buf, v)
	return s.buf.Bytes(), err
}

func (s *json2Stream) Decode(data []byte, v any) error { return json2.Unmarshal(data, v) }

type segmentioStream struct{ buf []byte }

func (s *segmentioStream) Encode(v any) (_ []byte, err error) {
	if _, ok := v.(*values.Node); ok {
		return nil, errCannot // it overflows the stack on a type that contains itself
	}
	s.buf, err = segmentio.Append(s.buf[:0], v, segmentio.EscapeHTML|segmentio.SortMapKeys)
	return s.buf, err
}

func (s *segmentioStream) Decode(data []byte, v any) error { return segmentio.Unmarshal(data, v) }
