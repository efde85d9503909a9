package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/gunicorn-go/dirty"
)

// The keys of the objects that stand for what JSON has no notation for.
const (
	keyBytes = "$bytes"
	keyFloat = "$float"
	keyDict  = "$dict"
)

// printJSON writes a frame as a line of JSON, which parseJSON reads. Large
// payloads are written piece by piece. Errors of out are kept by out.
func printJSON(out *bufio.Writer, f *frame) {
	fmt.Fprintf(out, `{"offset":%d`, f.offset)
	if f.conn != 0 {
		fmt.Fprintf(out, `,"conn":%d`, f.conn)
	}
	if f.dir != '?' {
		fmt.Fprintf(out, `,"dir":"%c"`, f.dir)
	}
	if f.hasHeader {
		fmt.Fprintf(out, `,"type":"%s","id":"%d","length":%d`, f.header.Type, f.header.RequestID, f.header.Length)
	}
	switch {
	case f.err != nil:
		out.WriteString(`,"error":{"message":`)
		writeString(out, f.message())
		fmt.Fprintf(out, `,"offset":%d}`, f.inputOffset(f.errPos))
		raw := f.payload
		if !f.hasHeader {
			raw = f.head
		}
		if len(raw) > 0 {
			out.WriteString(`,"raw":`)
			writeBase64(out, raw)
		}
		if len(f.payload) > 0 {
			out.WriteString(`,"partial":`)
			writeString(out, dirty.Diagnose(f.payload))
		}
	case len(f.payload) > 0:
		out.WriteString(`,"payload":`)
		// The payload was validated, so the walk cannot fail.
		_ = writeValue(out, dirty.NewDecoder(f.payload))
	}
	out.WriteString("}\n")
}

// writeValue writes the next value of d.
func writeValue(out *bufio.Writer, d *dirty.Decoder) error {
	kind, err := d.Kind()
	if err != nil {
		return err
	}
	switch kind {
	case dirty.KindBool:
		v, err := d.Bool()
		out.WriteString(strconv.FormatBool(v))
		return err
	case dirty.KindInt64:
		v, err := d.Int64()
		out.Write(strconv.AppendInt(out.AvailableBuffer(), v, 10))
		return err
	case dirty.KindFloat64:
		v, err := d.Float64()
		writeFloat(out, v)
		return err
	case dirty.KindBytes:
		v, err := d.Bytes()
		out.WriteString(`{"` + keyBytes + `":`)
		writeBase64(out, v)
		out.WriteByte('}')
		return err
	case dirty.KindString:
		v, err := d.Text()
		writeString(out, v)
		return err
	case dirty.KindList:
		n, err := d.ListHeader()
		out.WriteByte('[')
		for i := 0; i < n && err == nil; i++ {
			if i > 0 {
				out.WriteByte(',')
			}
			err = writeValue(out, d)
		}
		out.WriteByte(']')
		return err
	case dirty.KindDict:
		return writeDict(out, d)
	}
	out.WriteString("null")
	return d.None()
}

// writeDict writes a dict as an object, whose keys can repeat. If the first
// key could be taken for one of ours, it is a list of pairs within an object.
func writeDict(out *bufio.Writer, d *dirty.Decoder) error {
	n, err := d.DictHeader()
	open, between, pairEnd, end := "{", ":", "", "}"
	for i := 0; i < n && err == nil; i++ {
		var key string
		if key, err = d.Key(); err != nil {
			break
		}
		if i > 0 {
			out.WriteByte(',')
		} else {
			if len(key) > 0 && key[0] == '$' {
				open, between, pairEnd, end = `{"`+keyDict+`":[`, ",", "]", "]}"
			}
			out.WriteString(open)
		}
		if pairEnd != "" {
			out.WriteByte('[')
		}
		writeString(out, key)
		out.WriteString(between)
		err = writeValue(out, d)
		out.WriteString(pairEnd)
	}
	if n == 0 {
		out.WriteString(open)
	}
	out.WriteString(end)
	return err
}

// writeFloat writes a float so that it cannot be taken for an int.
func writeFloat(out *bufio.Writer, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		fmt.Fprintf(out, `{"%s":"%016x"}`, keyFloat, math.Float64bits(v))
		return
	}
	b := strconv.AppendFloat(out.AvailableBuffer(), v, 'g', -1, 64)
	point := false
	for _, c := range b {
		point = point || c == '.' || c == 'e'
	}
	if !point {
		b = append(b, ".0"...)
	}
	out.Write(b)
}

func writeBase64(out *bufio.Writer, v []byte) {
	out.WriteByte('"')
	w := base64.NewEncoder(base64.StdEncoding, out)
	w.Write(v) // out keeps the error
	w.Close()
	out.WriteByte('"')
}

// writeString writes a JSON string. encoding/json would build a second copy
// of it, and escape <, > and & for web pages.
func writeString(out *bufio.Writer, s string) {
	out.WriteByte('"')
	done := 0
	for i := 0; i < len(s); {
		c, size := rune(s[i]), 1
		if c >= utf8.RuneSelf {
			c, size = utf8.DecodeRuneInString(s[i:])
		}
		if esc := escape(c); esc != "" {
			out.WriteString(s[done:i])
			out.WriteString(esc)
			done = i + size
		}
		i += size
	}
	out.WriteString(s[done:])
	out.WriteByte('"')
}

// escape returns the notation of a character that cannot stand for itself: by
// the rules of JSON, or since a terminal would act on it.
func escape(c rune) string {
	switch c {
	case '"':
		return `\"`
	case '\\':
		return `\\`
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	if c < ' ' || c >= 0x7f && c < 0xa0 || c == '\u2028' || c == '\u2029' {
		return fmt.Sprintf(`\u%04x`, c)
	}
	return ""
}
