package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

// helpArgs explains the notation of arguments, in the help of each command that
// takes some.
const helpArgs = `Arguments:

  ARG       JSON if it is valid JSON, else a string: 1 is an int, 1.0 a float,
            true a bool, null None, [1,2] a list, cat a string, '"1"' a string
  NAME=ARG  a keyword argument
  @FILE     the bytes of a file; @- those of standard input
  -S        every ARG is a string, whatever it looks like
  -a JSON   all arguments, as a list; -k JSON all keyword arguments, as a dict
  -n        print the call with its types, and do not make it

A negative number is no flag. Put -- before arguments that begin with another -.
Bytes within JSON are {"$bytes":"AP8="}, as "dirty help decode" has it.`

// argFlags is how the arguments of a call are written.
type argFlags struct {
	strings    bool
	args       string
	kwargs     string
	argsSet    bool
	kwargsSet  bool
	usedStdin  bool // @- was read
	stdin      io.Reader
	openedFile func(name string) (io.ReadCloser, error)
}

func (c *cli) addArgFlags(cmd *cobra.Command) *argFlags {
	f := &argFlags{stdin: c.stdin, openedFile: c.openInput}
	cmd.Flags().BoolVarP(&f.strings, "strings", "S", false, "take every ARG as a string")
	cmd.Flags().StringVarP(&f.args, "args", "a", "", "all arguments, as a `JSON` list")
	cmd.Flags().StringVarP(&f.kwargs, "kwargs", "k", "", "all keyword arguments, as a `JSON` dict")
	return f
}

// callArgs are the arguments of a call, encoded.
type callArgs struct {
	args   []dirty.RawValue
	kwargs []namedValue // in the order in which they were written
}

type namedValue struct {
	name  string
	value dirty.RawValue
}

// keyword matches the NAME= of a keyword argument: an identifier of Python's.
var keyword = regexp.MustCompile(`^([\pL_][\pL\pN_]*)=`)

// parse encodes the arguments of a command line.
func (f *argFlags) parse(cmd *cobra.Command, words []string) (*callArgs, error) {
	f.argsSet, f.kwargsSet = cmd.Flags().Changed("args"), cmd.Flags().Changed("kwargs")
	call := &callArgs{}
	for _, word := range words {
		match := keyword.FindStringSubmatch(word)
		if match == nil {
			if f.argsSet {
				return nil, usagef("%q beside -a: -a has all arguments", word)
			}
			value, err := f.value(word)
			if err != nil {
				return nil, err
			}
			call.args = append(call.args, value)
			continue
		}
		if f.kwargsSet {
			return nil, usagef("%q beside -k: -k has all keyword arguments", word)
		}
		value, err := f.value(word[len(match[0]):])
		if err != nil {
			return nil, err
		}
		if err := call.addKeyword(match[1], value); err != nil {
			return nil, err
		}
	}
	if err := f.parseWhole(call); err != nil {
		return nil, err
	}
	return call, nil
}

// parseWhole takes the arguments that -a and -k have.
func (f *argFlags) parseWhole(call *callArgs) error {
	if f.argsSet {
		list, err := parseJSONValue(f.args)
		if err == nil {
			err = dirty.Unmarshal(list, &call.args)
		}
		if err != nil || list[0] != byte(dirty.KindList) {
			return usagef("-a %q: want a list of JSON%s", f.args, because(err))
		}
	}
	if f.kwargsSet {
		dict, err := parseJSONValue(f.kwargs)
		if err != nil || dict[0] != byte(dirty.KindDict) {
			return usagef("-k %q: want a dict of JSON%s", f.kwargs, because(err))
		}
		for name, value := range dirty.View(dict).Entries() {
			if err := call.addKeyword(string(name), value.Raw()); err != nil {
				return err
			}
		}
	}
	return nil
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

func (call *callArgs) addKeyword(name string, value dirty.RawValue) error {
	for _, other := range call.kwargs {
		if other.name == name {
			return usagef("keyword argument %q twice", name)
		}
	}
	call.kwargs = append(call.kwargs, namedValue{name, value})
	return nil
}

// value encodes one ARG.
func (f *argFlags) value(word string) (dirty.RawValue, error) {
	if f.strings {
		return encodeString(word)
	}
	if name, isFile := strings.CutPrefix(word, "@"); isFile {
		return f.file(name)
	}
	return parseArg(word)
}

// parseArg encodes an ARG that is no file: JSON if it is valid, else a string.
func parseArg(word string) (dirty.RawValue, error) {
	if !json.Valid([]byte(word)) {
		return encodeString(word)
	}
	value, err := parseJSONValue(word)
	if err != nil {
		return nil, usagef("%q: %v", word, err)
	}
	return value, nil
}

func encodeString(s string) (dirty.RawValue, error) {
	value, err := dirty.Marshal(s)
	if err != nil {
		return nil, usagef("%q: %v", s, err)
	}
	return value, nil
}

// file encodes the bytes of a file.
func (f *argFlags) file(name string) (dirty.RawValue, error) {
	if name == "-" {
		if f.usedStdin {
			return nil, usagef("@- twice: standard input can be read once")
		}
		f.usedStdin = true
	}
	in, err := f.openedFile(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	content, err := io.ReadAll(io.LimitReader(in, dirty.MaxPayloadSize+1))
	if err != nil {
		return nil, err
	}
	if len(content) > dirty.MaxPayloadSize {
		return nil, usagef("@%s: a frame holds at most %d MiB", name, dirty.MaxPayloadSize>>20)
	}
	return dirty.AppendBytes(nil, content), nil
}

// parseJSONValue encodes one value in decode's notation of JSON.
func parseJSONValue(text string) (dirty.RawValue, error) {
	if !json.Valid([]byte(text)) {
		return nil, errors.New("not valid JSON")
	}
	// Valid JSON has line ends only between its values. A line of input has none.
	text = strings.ReplaceAll(text, "\n", " ")
	p := newParser(bufio.NewReader(strings.NewReader(text)), nil)
	p.json = true
	err := p.value(0)
	if err == nil {
		err = p.endLine()
	}
	var syntax *syntaxError
	if errors.As(err, &syntax) {
		return nil, fmt.Errorf("byte %d: %s", syntax.pos+1, syntax.text)
	}
	if err != nil {
		return nil, err
	}
	return p.out[dirty.HeaderSize:], nil
}

// list returns the arguments as a call of the client takes them.
func (call *callArgs) list() []any {
	list := make([]any, 0, len(call.args)+1)
	for _, value := range call.args {
		list = append(list, value)
	}
	kwargs := client.Kwargs{}
	for _, k := range call.kwargs {
		kwargs[k.name] = k.value
	}
	return append(list, kwargs)
}

// print writes the call that -n does not make.
func (call *callArgs) print(out *bytes.Buffer, app, action, format string) error {
	if format == formatJSON {
		kwargs := make(dirty.Dict, 0, len(call.kwargs))
		for _, k := range call.kwargs {
			kwargs = append(kwargs, dirty.Entry{Key: k.name, Value: k.value})
		}
		args := call.list()[:len(call.args)]
		return writeAny(out, dirty.Dict{
			{Key: "app", Value: app}, {Key: "action", Value: action}, {Key: "args", Value: args}, {Key: "kwargs", Value: kwargs},
		}, format)
	}
	out.WriteString(printable(app + "." + action + "("))
	for i, value := range call.args {
		if i > 0 {
			out.WriteString(", ")
		}
		if err := writeValue(out, value, format); err != nil {
			return err
		}
	}
	for i, k := range call.kwargs {
		if i > 0 || len(call.args) > 0 {
			out.WriteString(", ")
		}
		out.WriteString(printable(k.name) + "=")
		if err := writeValue(out, k.value, format); err != nil {
			return err
		}
	}
	out.WriteString(")")
	return nil
}

// numberMark stands before a word of the command line that looks like a negative
// number, so that it is not taken for a flag. No word of a command line has it:
// the system ends words with this byte.
const numberMark = "\x00"

var negativeNumber = regexp.MustCompile(`^-\.?[0-9]`)

func markNumbers(words []string) []string {
	marked := make([]string, len(words))
	for i, word := range words {
		if negativeNumber.MatchString(word) {
			word = numberMark + word
		}
		marked[i] = word
	}
	return marked
}

func unmarkNumbers(words []string) []string {
	plain := make([]string, len(words))
	for i, word := range words {
		plain[i] = strings.TrimPrefix(word, numberMark)
	}
	return plain
}
