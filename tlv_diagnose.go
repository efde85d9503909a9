package dirty

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
)

// Diagnose returns the first value of data in a notation for people, in the
// manner of CBOR's: {"a": 1, "b": h'00ff', "c": 1.0, "d": null}. An integer
// has no point, a float always has a point or an exponent, or is NaN,
// Infinity or -Infinity; a NaN with other than the usual bits shows them:
// NaN(7ff0000000000001). Strings are quoted as in Go.
//
// Of broken data it shows what it could read, then the error with its
// offset in angle brackets; so it does with what follows the value.
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

type diagnosis struct {
	dec *Decoder
	out strings.Builder
}

func (d *diagnosis) value(depth int) error {
	k, err := d.dec.Kind()
	if err != nil {
		return err
	}
	switch k {
	case KindList, KindDict:
		if depth == d.dec.s.lim.MaxDepth {
			return d.dec.s.fail(ErrTooDeep, ruleDepth, int64(depth), int64(depth)+1)
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

// floatText writes a float so that it is no integer and every bit is kept.
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
