//go:build unix

package interop

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/gunicorn-go/dirty"
)

// FuzzOracle compares what we and the newest gunicorn make of any bytes: whether they
// are valid, and which value they are. To compare the values, both encode them again.
func FuzzOracle(f *testing.F) {
	for _, name := range []string{"values.json", "decode_only.json", "bad_values.json"} {
		for _, v := range readVectors(f, name) {
			if len(v.Hex) < 4096 {
				f.Add(v.bytes(f))
			}
		}
	}
	noteInputs()
	o := oracleOf(f, pythons[len(pythons)-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		var value any
		err := dirty.DecodeOptions{UseDict: true}.Unmarshal(data, &value)
		if valid := dirty.Validate(data); (valid == nil) != (err == nil) {
			t.Fatalf("Valid says %v, Unmarshal %v", valid, err)
		}
		verdict, theirs := o.ask(t, askValue, data)
		switch {
		case verdict == isTooDeep:
			// Python's stack ends a little before our limit; that is allowed.
		case tooMuchMemory(err):
			// gunicorn has no such limit.
		case err != nil && verdict == isValid:
			t.Fatalf("we refuse what gunicorn reads: %v", err)
		case err == nil && verdict == isError:
			t.Fatalf("we read what gunicorn refuses: %s", theirs)
		case errors.Is(err, dirty.ErrTooDeep):
			t.Fatalf("too deep for us, but gunicorn says %s", theirs)
		case err == nil:
			ours, err := dirty.EncodeOptions{Limits: dirty.Limits{MaxDepth: dirty.DefaultMaxDepth}}.Marshal(value)
			if err != nil {
				t.Fatalf("what was decoded does not encode: %v", err)
			}
			if !bytes.Equal(ours, theirs) {
				t.Fatalf("we read\n%s\ngunicorn reads\n%s", dirty.Diagnose(ours), dirty.Diagnose(theirs))
			}
		}
	})
}

// tooMuchMemory reports whether err is a refusal by Limits.MaxMemory.
func tooMuchMemory(err error) bool {
	var fault *dirty.ProtocolError
	return errors.As(err, &fault) && strings.Contains(fault.Rule, "MaxMemory")
}
