package codecs

import (
	"github.com/tinylib/msgp/msgp"

	"github.com/gunicorn-go/dirty/bench/internal/values"
)

type msgpStream struct{ buf []byte }

func (s *msgpStream) Encode(v any) (_ []byte, err error) {
	if isTree(v) {
		s.buf, err = msgp.AppendIntf(s.buf[:0], v)
		return s.buf, err
	}
	g, ok := generatedCode(v)
	if !ok {
		return nil, errCannot
	}
	s.buf, err = g.MarshalMsg(s.buf[:0])
	return s.buf, err
}

func (s *msgpStream) Decode(data []byte, v any) (err error) {
	if p, ok := v.(*any); ok {
		*p, _, err = msgp.ReadIntfBytes(data)
		return err
	}
	g, ok := generatedCode(v)
	if !ok {
		return errCannot
	}
	_, err = g.UnmarshalMsg(data)
	return err
}

type msgpValue interface {
	msgp.Marshaler
	msgp.Unmarshaler
}

// generatedCode finds the code that was generated for what v points to.
func generatedCode(v any) (g msgpValue, ok bool) {
	switch v := v.(type) {
	case *[]values.Row:
		return (*values.Rows)(v), true
	case *[]values.ReorderedRow:
		return (*values.ReorderedRows)(v), true
	case *[]values.Order:
		return (*values.Orders)(v), true
	case *[]float64:
		return (*values.Floats)(v), true
	case *[]string:
		return (*values.Strings)(v), true
	case *[]byte:
		return (*values.Bytes)(v), true
	}
	g, ok = v.(msgpValue)
	return g, ok
}
