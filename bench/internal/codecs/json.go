package codecs

import (
	"bytes"
	"encoding/json"

	json2 "github.com/go-json-experiment/json"
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
