// Package notation reads and writes values as the JSON of testdata/vectors, which
// docs/SPEC.md describes: null, true, false, "text" and [...] stand for
// themselves, everything else is an object with one key, such as {"int": "-5"}.
package notation

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/gunicorn-go/dirty"
)

// Parse returns the value that a JSON text stands for. Dicts become dirty.Dict.
func Parse(text []byte) (any, error) {
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		return nil, err
	}
	return FromJSON(plain)
}

// FromJSON is Parse for JSON that is decoded already.
func FromJSON(v any) (any, error) {
	switch v := v.(type) {
	case []any:
		list := make([]any, len(v))
		for i := range v {
			var err error
			if list[i], err = FromJSON(v[i]); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		if len(v) == 1 {
			for kind, arg := range v {
				switch arg := arg.(type) {
				case string:
					return scalar(kind, arg)
				case []any:
					if kind == "dict" {
						return dict(arg)
					}
				}
			}
		}
		return nil, fmt.Errorf("no value: %.100v", v)
	case nil, bool, string:
		return v, nil
	}
	return nil, fmt.Errorf("no value: %T", v)
}

func scalar(kind, text string) (any, error) {
	switch kind {
	case "int":
		if unsigned, err := strconv.ParseUint(text, 10, 64); err == nil && unsigned > math.MaxInt64 {
			return unsigned, nil // has no encoding, for tests of that
		}
		return strconv.ParseInt(text, 10, 64)
	case "float":
		bits, err := strconv.ParseUint(text, 16, 64)
		return math.Float64frombits(bits), err
	case "bytes":
		return hex.DecodeString(text)
	}
	return nil, fmt.Errorf("no kind of scalar: %q", kind)
}

func dict(entries []any) (any, error) {
	dict := make(dirty.Dict, len(entries))
	for i, entry := range entries {
		pair, ok := entry.([]any)
		if !ok || len(pair) != 2 {
			return nil, fmt.Errorf("no entry of a dict: %.100v", entry)
		}
		key, ok := pair[0].(string)
		if !ok {
			return nil, fmt.Errorf("no key of a dict: %T", pair[0])
		}
		value, err := FromJSON(pair[1])
		if err != nil {
			return nil, err
		}
		dict[i] = dirty.Entry{Key: key, Value: value}
	}
	return dict, nil
}

// ToJSON returns what encoding/json writes as the notation of a value. It takes
// what values decode to with DecodeOptions.UseDict.
func ToJSON(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, string:
		return v, nil
	case int64:
		return map[string]any{"int": strconv.FormatInt(v, 10)}, nil
	case float64:
		return map[string]any{"float": fmt.Sprintf("%016x", math.Float64bits(v))}, nil
	case []byte:
		return map[string]any{"bytes": hex.EncodeToString(v)}, nil
	case []any:
		list := make([]any, len(v))
		for i := range v {
			var err error
			if list[i], err = ToJSON(v[i]); err != nil {
				return nil, err
			}
		}
		return list, nil
	case dirty.Dict:
		entries := make([]any, len(v))
		for i, e := range v {
			value, err := ToJSON(e.Value)
			if err != nil {
				return nil, err
			}
			entries[i] = []any{e.Key, value}
		}
		return map[string]any{"dict": entries}, nil
	}
	return nil, fmt.Errorf("no notation for %T", v)
}
