package dirty

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
)

// Diagnose returns the value that data is in a notation for people, like that of
// CBOR: {"a": 1, "b": h'00ff', "c": 1.0, "d": null}. Strings are quoted as in
// Go. A float always has a point or an exponent, which an integer never has, or
// is NaN, Infinity or -Infinity. A NaN with unusual bits shows them:
// NaN(7ff0000000000001).
//
// If data is broken, or goes on after the value, Diagnose shows what it could
// read and then the error in angle brackets. It shows all of the data, secrets
// included.
func Diagnose(data []byte) string {
	d := diagnosis{dec: NewDecoder(data)}
	err := d.value(0)
	if err == nil {
		err = d.dec.Finish()
	}
	if err != nil {
		d.out.WriteString("<" + err.Error() + ">")
	}
	return d.out.String()
}

// diagnosis is the state of Diagnose.
type diagnosis struct {
	dec *Decoder
	out strings.Builder
}

// value writes the next value. depth is the number of lists and dicts around it.
func (d *diagnosis) value(depth int) error {
	k, err := d.dec.Kind()
	if err != nil {
		return err
	}
	switch k {
	case KindList, KindDict:
		if depth == d.dec.check.lim.MaxDepth {
			return d.dec.check.fail(ErrTooDeep, ruleDepth, int64(depth), int64(depth)+1)
		}
		if k == KindDict {
			return d.dict(depth)
		}
		return d.list(depth)
	}
	c, err := d.dec.scalar(k)
	if err != nil {
		return err
	}
	switch k {
	case KindNone:
		d.out.WriteString("null")
	case KindBool:
		d.out.WriteString(strconv.FormatBool(c.bool()))
	case KindInt64:
		d.out.WriteString(strconv.FormatInt(c.int64(), 10))
	case KindFloat64:
		d.out.WriteString(floatText(c.float64()))
	case KindBytes:
		d.out.WriteString("h'" + hex.EncodeToString(c.body()) + "'")
	case KindString:
		d.out.WriteString(strconv.Quote(string(c.body())))
	}
	return nil
}

func (d *diagnosis) list(depth int) error {
	n, err := d.dec.ListHeader()
	if err != nil {
		return err
	}
	d.out.WriteByte('[')
	for i := range n {
		if i > 0 {
			d.out.WriteString(", ")
		}
		if err := d.value(depth + 1); err != nil {
			return err
		}
	}
	d.out.WriteByte(']')
	return nil
}

func (d *diagnosis) dict(depth int) error {
	n, err := d.dec.DictHeader()
	if err != nil {
		return err
	}
	d.out.WriteByte('{')
	for i := range n {
		if i > 0 {
			d.out.WriteString(", ")
		}
		key, err := d.dec.Key()
		if err != nil {
			return err
		}
		d.out.WriteString(strconv.Quote(key) + ": ")
		if err := d.value(depth + 1); err != nil {
			return err
		}
	}
	d.out.WriteByte('}')
	return nil
}

// floatText returns a float in a form that no integer has and that keeps every
// bit.
func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f != f && math.Float64bits(f) == 0x7ff8000000000000:
		return "NaN"
	case f != f:
		return "NaN(" + strconv.FormatUint(math.Float64bits(f), 16) + ")"
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}
