package server

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/gunicorn-go/dirty"
)

// The functions of this file spell decoded values as Python does, for messages
// to clients and for patterns, which match a key's Python text.

// pythonType is Python's name for the type of a decoded value.
func pythonType(v any) string {
	switch v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case []byte:
		return "bytes"
	case []any:
		return "list"
	case map[string]any, dirty.Dict:
		return "dict"
	}
	return fmt.Sprintf("%T", v)
}

// pythonText is Python's str of a key. Of a list or a dict it shows only the
// brackets.
func pythonText(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(v, 10)
	case int:
		return strconv.Itoa(v)
	case float64:
		return pythonFloat(v)
	case string:
		return v
	case []byte:
		return pythonBytes(v)
	case []any:
		return "[...]"
	}
	return "{...}"
}

// showKey is pythonText for messages, cut if it is long.
func showKey(v any) string {
	switch k := v.(type) {
	case string:
		if len(k) > maxShown {
			return strings.ToValidUTF8(k[:maxShown], "") + "..."
		}
	case []byte:
		if len(k) > maxShown {
			return pythonBytes(k[:maxShown]) + "..."
		}
	}
	return pythonText(v)
}

const maxShown = 1000 // bytes

// pythonFloat spells a float as Python does: the fewest digits that tell it
// from others, with an exponent below 1e-4 and from 1e16 on.
func pythonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		return strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(f, 'g', -1, 64)), "+")
	}
	scientific := strconv.FormatFloat(f, 'e', -1, 64)
	exponent, _ := strconv.Atoi(scientific[strings.IndexByte(scientific, 'e')+1:])
	if exponent < -4 || exponent >= 16 {
		return scientific
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// pythonBytes spells bytes as Python does: b'...', with escapes.
func pythonBytes(b []byte) string {
	quote := byte('\'')
	if bytes.IndexByte(b, '\'') >= 0 && bytes.IndexByte(b, '"') < 0 {
		quote = '"'
	}
	const digits = "0123456789abcdef"
	s := append(make([]byte, 0, len(b)+3), 'b', quote)
	for _, c := range b {
		switch {
		case c == quote, c == '\\':
			s = append(s, '\\', c)
		case c == '\t':
			s = append(s, `\t`...)
		case c == '\n':
			s = append(s, `\n`...)
		case c == '\r':
			s = append(s, `\r`...)
		case c < ' ', c > '~':
			s = append(s, '\\', 'x', digits[c>>4], digits[c&15])
		default:
			s = append(s, c)
		}
	}
	return string(append(s, quote))
}

// isPythonFalse reports whether Python takes a value for false.
func isPythonFalse(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case int64:
		return v == 0
	case float64:
		return v == 0
	case string:
		return v == ""
	case []byte:
		return len(v) == 0
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}
