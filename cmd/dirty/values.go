package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty"
)

// The formats of -o.
const (
	formatText    = "text"
	formatJSON    = "json"
	formatRaw     = "raw"
	formatCapture = "capture"
)

// defaultFormat is the annotation of a command that has its default of -o.
const defaultFormat = "format"

// addFormatFlag adds -o. The first format is the default, on a terminal or not.
func (c *cli) addFormatFlag(cmd *cobra.Command, formats ...string) {
	cmd.Annotations = map[string]string{defaultFormat: formats[0]}
	cmd.Flags().VarP(&choice{formats, &c.format, "FORMAT"}, "output", "o", joinWords(formats)+"; the default is "+formats[0])
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

// writeValue writes an encoded value in a format, without a line end.
func writeValue(out textWriter, value dirty.RawValue, format string) error {
	w := &valueWriter{out: out, dec: dirty.NewDecoder(value), json: format == formatJSON}
	return w.value(0)
}

// writeAny encodes a value and writes it.
func writeAny(out textWriter, value any, format string) error {
	raw, err := dirty.Marshal(value)
	if err != nil {
		return err
	}
	return writeValue(out, raw, format)
}

// printValue prints a value on a line of its own. In the format raw a string and
// bytes are printed as they are, with nothing added.
func (c *cli) printValue(value dirty.RawValue) error {
	if len(value) == 0 {
		value = dirty.AppendNone(nil)
	}
	format := c.format
	if format == formatRaw {
		view := dirty.View(value)
		if text, ok := view.Text(); ok {
			_, err := c.stdout.Write(text)
			return err
		}
		if data, ok := view.Bytes(); ok {
			_, err := c.stdout.Write(data)
			return err
		}
		format = formatJSON
	}
	var line bytes.Buffer
	if err := writeValue(&line, value, format); err != nil {
		return err
	}
	line.WriteByte('\n')
	_, err := c.stdout.Write(line.Bytes())
	return err
}

// printJSONLine prints a value of Go as a line of JSON.
func (c *cli) printJSONLine(value any) error {
	var line bytes.Buffer
	if err := writeAny(&line, value, formatJSON); err != nil {
		return err
	}
	line.WriteByte('\n')
	_, err := c.stdout.Write(line.Bytes())
	return err
}

// argText writes a value so that it can be used as an ARG: a string as it is if
// nothing else could be meant, all else in JSON.
func argText(value dirty.RawValue) (string, error) {
	if text, ok := dirty.View(value).Text(); ok {
		plain := string(text)
		again, err := parseArg(plain)
		if err == nil && bytes.Equal(again, value) && printable(plain) == plain &&
			plain != "" && !strings.HasPrefix(plain, "@") && !strings.HasPrefix(plain, "-") {
			return plain, nil
		}
	}
	var text bytes.Buffer
	if err := writeValue(&text, value, formatJSON); err != nil {
		return "", err
	}
	return text.String(), nil
}

// printArgs prints values, a line each: as ARGs, or in JSON.
func (c *cli) printArgs(values []dirty.RawValue) error {
	for _, value := range values {
		if c.format == formatJSON {
			if err := c.printValue(value); err != nil {
				return err
			}
			continue
		}
		text, err := argText(value)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.stdout, text)
	}
	return nil
}
