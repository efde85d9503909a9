package codecs

import (
	"github.com/gunicorn-go/dirty/bench/internal/protobuf"
	"github.com/gunicorn-go/dirty/bench/internal/values"
)

// message is what vtprotobuf generates for each message.
type message interface {
	SizeVT() int
	MarshalToSizedBufferVT(b []byte) (int, error)
	UnmarshalVT(b []byte) error
	ResetVT()
}

type protobufStream struct{ buf []byte }

func (s *protobufStream) Encode(v any) ([]byte, error) {
	m, ok := v.(message)
	if !ok {
		return nil, errCannot
	}
	size := m.SizeVT()
	if cap(s.buf) < size {
		s.buf = make([]byte, size)
	}
	s.buf = s.buf[:size]
	_, err := m.MarshalToSizedBufferVT(s.buf)
	return s.buf, err
}

func (s *protobufStream) Decode(data []byte, v any) error {
	m := v.(message)
	if m.SizeVT() > 0 { // it is used again
		m.ResetVT() // which keeps its memory; without it lists would grow
	}
	return m.UnmarshalVT(data)
}

// asProtobuf returns a value whose typed form is a message of protobuf, with the
// same content. It has none for nested lists.
func asProtobuf(v values.Value) values.Value {
	v.HasAny, v.HasTyped = false, true
	switch t := v.Sent.(type) {
	case *values.Request:
		v.Sent, v.New = &protobuf.Request{
			AppPath: t.AppPath, Action: t.Action, Args: convert(t.Args, asInt64),
			Kwargs: &protobuf.Kwargs{User: t.Kwargs.User, Deep: t.Kwargs.Deep},
		}, newOf[protobuf.Request]
	case *values.Model:
		v.Sent, v.New = &protobuf.Model{
			Model: t.Model, Image: t.Image, Temperature: t.Temperature, TopK: int64(t.TopK),
			Stream: t.Stream, Stop: t.Stop, Prompt: t.Prompt,
		}, newOf[protobuf.Model]
	case *[]values.Row:
		v.Sent, v.New = &protobuf.Rows{Rows: convert(*t, func(r values.Row) *protobuf.Row {
			return &protobuf.Row{Id: int64(r.ID), Name: r.Name, Score: r.Score}
		})}, newOf[protobuf.Rows]
	case *[]values.ReorderedRow: // no other order, since there are no keys
		v.Sent, v.New = &protobuf.Rows{Rows: convert(*t, func(r values.ReorderedRow) *protobuf.Row {
			return &protobuf.Row{Id: int64(r.ID), Name: r.Name, Score: r.Score}
		})}, newOf[protobuf.Rows]
	case *[]float64:
		v.Sent, v.New = &protobuf.Floats{Floats: *t}, newOf[protobuf.Floats]
	case *[]string:
		v.Sent, v.New = &protobuf.Strings{Strings: *t}, newOf[protobuf.Strings]
	case *[]byte:
		v.Sent, v.New = &protobuf.Blob{Data: *t}, newOf[protobuf.Blob]
	case *[]values.Order:
		v.Sent, v.New = &protobuf.Orders{Orders: convert(*t, orderAsProtobuf)}, newOf[protobuf.Orders]
	default:
		v.HasTyped, v.Sent, v.New = false, nil, nil
	}
	v.Typed = v.Sent
	return v
}

func orderAsProtobuf(o values.Order) *protobuf.Order {
	return &protobuf.Order{
		Id: int64(o.ID), Created: o.Created, Paid: o.Paid, Discount: o.Discount, Tags: o.Tags, Note: o.Note,
		Customer: &protobuf.Customer{Name: o.Customer.Name, Email: o.Customer.Email, Age: int64(o.Customer.Age)},
		Items: convert(o.Items, func(i values.Item) *protobuf.Item {
			return &protobuf.Item{Sku: i.SKU, Name: i.Name, Count: int64(i.Count), Price: i.Price, Attributes: i.Attributes}
		}),
	}
}

func newOf[T any]() any { return new(T) }

func asInt64(n int) int64 { return int64(n) }

func convert[A, B any](list []A, one func(A) B) []B {
	converted := make([]B, len(list))
	for i, v := range list {
		converted[i] = one(v)
	}
	return converted
}
