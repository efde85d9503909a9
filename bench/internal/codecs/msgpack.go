package codecs

import (
	"bytes"

	"github.com/vmihailenco/msgpack/v5"
)

type msgpackStream struct {
	enc *msgpack.Encoder
	dec *msgpack.Decoder
	out bytes.Buffer
	in  bytes.Reader
}

func newMsgpack() Stream {
	s := &msgpackStream{}
	s.enc, s.dec = msgpack.NewEncoder(&s.out), msgpack.NewDecoder(&s.in)
	// No UseLooseInterfaceDecoding: it makes strings of bytes. Without it an
	// int64 stays one as well, because the encoder writes all its bytes.
	return s
}

func (s *msgpackStream) Encode(v any) ([]byte, error) {
	s.out.Reset()
	s.enc.Reset(&s.out)
	err := s.enc.Encode(v)
	return s.out.Bytes(), err
}

func (s *msgpackStream) Decode(data []byte, v any) error {
	s.in.Reset(data)
	s.dec.Reset(&s.in)
	return s.dec.Decode(v)
}
