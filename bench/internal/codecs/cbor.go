package codecs

import (
	"bytes"
	"math"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

type cborStream struct {
	enc cbor.UserBufferEncMode
	dec cbor.DecMode
	buf bytes.Buffer
}

func newCBOR() Stream {
	enc, err := cbor.EncOptions{}.UserBufferEncMode()
	if err != nil {
		panic(err)
	}
	dec, err := cbor.DecOptions{
		DefaultMapType:   reflect.TypeFor[map[string]any](),
		IntDec:           cbor.IntDecConvertSignedOrFail,
		MaxNestedLevels:  math.MaxUint16,
		MaxArrayElements: math.MaxInt32,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return &cborStream{enc: enc, dec: dec}
}

func (s *cborStream) Encode(v any) ([]byte, error) {
	s.buf.Reset()
	err := s.enc.MarshalToBuffer(v, &s.buf)
	return s.buf.Bytes(), err
}

func (s *cborStream) Decode(data []byte, v any) error { return s.dec.Unmarshal(data, v) }
