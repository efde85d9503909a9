package codecs

import (
	"bytes"
	"encoding/gob"
	"reflect"
)

func init() {
	gob.Register(map[string]any{})
	gob.Register([]any{})
}

// gobStream is a stream that has sent its types in a first message. What is
// measured is a later message, with the value alone.
type gobStream struct {
	enc  *gob.Encoder
	dec  *gob.Decoder
	out  bytes.Buffer
	in   bytes.Reader // an io.ByteReader, so that the decoder reads no more than a message
	tree any          // what Encode was given; the encoder needs its address
	sent bool         // the types were sent
}

func newGob() Stream {
	s := &gobStream{}
	s.enc, s.dec = gob.NewEncoder(&s.out), gob.NewDecoder(&s.in)
	return s
}

func (s *gobStream) Encode(v any) ([]byte, error) {
	if !s.sent {
		if err := s.sendTypes(v); err != nil {
			return nil, err
		}
	}
	s.out.Reset()
	err := s.encode(v)
	return s.out.Bytes(), err
}

func (s *gobStream) Decode(data []byte, v any) error {
	s.in.Reset(data)
	return s.dec.Decode(v)
}

func (s *gobStream) sendTypes(v any) error {
	if err := s.encode(v); err != nil {
		return err
	}
	fresh := reflect.ValueOf(new(any))
	if t := reflect.TypeOf(v); t.Kind() == reflect.Pointer {
		fresh = reflect.New(t.Elem())
	}
	s.sent = true
	return s.Decode(s.out.Bytes(), fresh.Interface())
}

func (s *gobStream) encode(v any) error {
	if isTree(v) {
		s.tree = v
		return s.enc.Encode(&s.tree)
	}
	return s.enc.Encode(v)
}
