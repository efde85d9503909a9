package main

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// visible says whether a character can be printed as it is. The others could
// move the cursor, turn the order of what follows around, or not be seen at
// all: control and format characters, line separators, spaces but for the
// usual one, the byte order mark.
func visible(c rune) bool {
	if c < utf8.RuneSelf {
		return ' ' <= c && c <= '~'
	}
	return strconv.IsPrint(c) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, c)
}

// escape returns the notation of a character that is not visible. JSON reads
// it, and so does the text form.
func escape(c rune) string {
	switch c {
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	if c > 0xffff {
		high, low := utf16.EncodeRune(c)
		return codeUnit(high) + codeUnit(low)
	}
	return codeUnit(c)
}

// codeUnit returns the notation of 16 bits.
func codeUnit(c rune) string {
	const digits = "0123456789abcdef"
	return string([]byte{'\\', 'u', digits[c>>12&15], digits[c>>8&15], digits[c>>4&15], digits[c&15]})
}

// writeEscaped writes s with escapes for what is not visible, and for the
// ASCII characters in also. It does not make a copy of s.
func writeEscaped(out textWriter, s, also string) {
	done := 0
	for i := 0; i < len(s); {
		if c := s[i]; ' ' <= c && c <= '~' && c != '"' && c != '\\' { // most are
			i++
			continue
		}
		c, size := rune(s[i]), 1
		if c >= utf8.RuneSelf {
			c, size = utf8.DecodeRuneInString(s[i:])
		}
		notUTF8 := c == utf8.RuneError && size == 1
		special := c < utf8.RuneSelf && strings.IndexByte(also, byte(c)) >= 0
		if special || notUTF8 || !visible(c) {
			out.WriteString(s[done:i])
			if special {
				out.WriteString(`\` + string(c))
			} else {
				out.WriteString(escape(c))
			}
			done = i + size
		}
		i += size
	}
	out.WriteString(s[done:])
}

// writeString writes s as a string of JSON. encoding/json would make a copy of
// s, show some characters that are not visible, and escape <, > and & for web
// pages.
func writeString(out textWriter, s string) {
	out.WriteByte('"')
	writeEscaped(out, s, `"\`)
	out.WriteByte('"')
}

// printable returns s with escapes for what is not visible.
func printable(s string) string {
	var b strings.Builder
	writeEscaped(&b, s, "")
	return b.String()
}

// textWriter is a place for text: a [bufio.Writer], a [strings.Builder] or an
// escapingWriter. Whatever is behind it keeps its own errors.
type textWriter interface {
	Write(p []byte) (int, error)
	WriteString(s string) (int, error)
	WriteByte(c byte) error
}

// escapingWriter writes what it is given as a part of a string of JSON.
type escapingWriter struct{ out textWriter }

func (w escapingWriter) Write(p []byte) (int, error) { return w.WriteString(string(p)) }

func (w escapingWriter) WriteString(s string) (int, error) {
	writeEscaped(w.out, s, `"\`)
	return len(s), nil
}

func (w escapingWriter) WriteByte(c byte) error {
	_, err := w.WriteString(string(rune(c)))
	return err
}
