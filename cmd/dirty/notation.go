package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/gunicorn-go/dirty"
)

// The keys of the objects that stand for what JSON has no notation for.
const (
	keyBytes = "$bytes"
	keyFloat = "$float"
	keyDict  = "$dict"
)

// valueWriter writes values in one of the two notations that parser reads: that
// of JSON, or the text form, which is the one of [dirty.Diagnose] with strings
// escaped as in JSON. It writes them piece by piece and never holds the text of
// a payload.
type valueWriter struct {
	out  textWriter
	dec  *dirty.Decoder
	json bool
}

// comma and colon are what stands between values.
func (w *valueWriter) comma() string {
	if w.json {
		return ","
	}
	return ", "
}

func (w *valueWriter) colon() string {
	if w.json {
		return ":"
	}
	return ": "
}

// value writes the next value; depth is how many lists and dicts are around it.
func (w *valueWriter) value(depth int) error {
	kind, err := w.dec.Kind()
	if err != nil {
		return err
	}
	//exhaustive:enforce
	switch kind {
	case dirty.KindNone:
		w.out.WriteString("null")
		return w.dec.None()
	case dirty.KindBool:
		v, err := w.dec.Bool()
		if err == nil {
			w.out.WriteString(strconv.FormatBool(v))
		}
		return err
	case dirty.KindInt64:
		v, err := w.dec.Int64()
		if err == nil {
			w.out.WriteString(strconv.FormatInt(v, 10))
		}
		return err
	case dirty.KindFloat64:
		v, err := w.dec.Float64()
		if err == nil {
			w.float(v)
		}
		return err
	case dirty.KindBytes:
		v, err := w.dec.Bytes()
		if err == nil {
			w.bytes(v)
		}
		return err
	case dirty.KindString:
		v, err := w.dec.Text()
		if err == nil {
			writeString(w.out, v)
		}
		return err
	case dirty.KindList:
		return w.list(depth + 1)
	case dirty.KindDict:
		return w.dict(depth + 1)
	}
	return fmt.Errorf("a value of the kind %v cannot be shown", kind)
}

// checkDepth bounds the recursion: the payload may be broken in this very way.
func (w *valueWriter) checkDepth(depth int) error {
	if depth > dirty.DefaultMaxDepth {
		return fmt.Errorf("more than %d lists and dicts within each other, at offset %d", dirty.DefaultMaxDepth, w.dec.Offset())
	}
	return nil
}

func (w *valueWriter) list(depth int) error {
	if err := w.checkDepth(depth); err != nil {
		return err
	}
	n, err := w.dec.ListHeader()
	if err != nil {
		return err
	}
	w.out.WriteByte('[')
	for i := range n {
		if i > 0 {
			w.out.WriteString(w.comma())
		}
		if err := w.value(depth); err != nil {
			return err
		}
	}
	w.out.WriteByte(']')
	return nil
}

// dict writes a dict as an object, whose keys can repeat. In JSON, if the first
// key begins with a $, it is a list of pairs within an object: else it could be
// taken for one of the objects that stand for something else.
func (w *valueWriter) dict(depth int) error {
	if err := w.checkDepth(depth); err != nil {
		return err
	}
	n, err := w.dec.DictHeader()
	if err != nil {
		return err
	}
	open, pair, colon, pairEnd, end := "{", "", w.colon(), "", "}"
	for i := range n {
		if i > 0 {
			w.out.WriteString(w.comma())
		}
		key, err := w.dec.Key()
		if i == 0 {
			if w.json && strings.HasPrefix(key, "$") {
				open, pair, colon, pairEnd, end = `{"`+keyDict+`":[`, "[", ",", "]", "]}"
			}
			w.out.WriteString(open)
		}
		if err != nil {
			return err
		}
		w.out.WriteString(pair)
		writeString(w.out, key)
		w.out.WriteString(colon)
		if err := w.value(depth); err != nil {
			return err
		}
		w.out.WriteString(pairEnd)
	}
	if n == 0 {
		w.out.WriteString(open)
	}
	w.out.WriteString(end)
	return nil
}

// float writes a float so that it cannot be taken for an int, and keeps every
// bit of it.
func (w *valueWriter) float(v float64) {
	switch bits := math.Float64bits(v); {
	case w.json && (math.IsNaN(v) || math.IsInf(v, 0)):
		fmt.Fprintf(w.out, `{"%s":"%016x"}`, keyFloat, bits)
	case math.IsInf(v, 1):
		w.out.WriteString("Infinity")
	case math.IsInf(v, -1):
		w.out.WriteString("-Infinity")
	case bits == pythonNaN:
		w.out.WriteString("NaN")
	case math.IsNaN(v):
		fmt.Fprintf(w.out, "NaN(%016x)", bits)
	default:
		text := strconv.FormatFloat(v, 'g', -1, 64)
		if !strings.ContainsAny(text, ".e") {
			text += ".0"
		}
		w.out.WriteString(text)
	}
}

// pythonNaN is the NaN of Python. That of Go differs in the last bit.
const pythonNaN = 0x7ff8000000000000

func (w *valueWriter) bytes(v []byte) {
	if w.json {
		w.out.WriteString(`{"` + keyBytes + `":`)
		writeBase64(w.out, v)
		w.out.WriteByte('}')
		return
	}
	w.out.WriteString("h'")
	_, _ = hex.NewEncoder(w.out).Write(v) // out keeps the error
	w.out.WriteByte('\'')
}

func writeBase64(out textWriter, v []byte) {
	out.WriteByte('"')
	w := base64.NewEncoder(base64.StdEncoding, out)
	_, _ = w.Write(v) // out keeps the error
	_ = w.Close()
	out.WriteByte('"')
}

// writePayload writes the payload of a sound frame.
func writePayload(out textWriter, payload []byte, json bool) error {
	w := &valueWriter{out: out, dec: dirty.NewDecoder(payload), json: json}
	if err := w.value(0); err != nil {
		return fmt.Errorf("decode: a payload that was found sound: %w", err)
	}
	return nil
}

// writeBroken writes what can be read of a broken payload in the text form,
// then why it ends there in angle brackets.
func writeBroken(out textWriter, payload []byte) {
	w := &valueWriter{out: out, dec: dirty.NewDecoder(payload)}
	err := w.value(0)
	if err == nil {
		err = w.dec.Finish()
	}
	if err != nil {
		out.WriteString("<" + printable(err.Error()) + ">")
	}
}
