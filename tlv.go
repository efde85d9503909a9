package dirty

import "strconv"

// Kind is the type code of a value: its first byte (TYPE_* in dirty/tlv.py).
type Kind byte

// The kinds. Lengths and counts are 4 bytes, numbers 8, all big-endian.
const (
	KindNone    Kind = 0x00 // nothing follows
	KindBool    Kind = 0x01 // a byte; any but 0 is true
	KindInt64   Kind = 0x05 // 8 bytes, two's complement
	KindFloat64 Kind = 0x06 // 8 bytes, IEEE 754
	KindBytes   Kind = 0x10 // length, bytes
	KindString  Kind = 0x11 // length, UTF-8
	KindList    Kind = 0x20 // count, values
	KindDict    Kind = 0x21 // count, entries: a string and a value
)

// kinds has the name of each kind. A kind that is not in this table does not
// exist.
var kinds = [256]string{
	KindNone:    "None",
	KindBool:    "bool",
	KindInt64:   "int64",
	KindFloat64: "float64",
	KindBytes:   "bytes",
	KindString:  "string",
	KindList:    "list",
	KindDict:    "dict",
}

func (k Kind) valid() bool { return kinds[k] != "" }

// String returns the name of the kind, such as "int64", or "Kind(0x7f)" if
// there is no such kind.
func (k Kind) String() string {
	if k.valid() {
		return kinds[k]
	}
	return "Kind(0x" + strconv.FormatUint(uint64(k), 16) + ")"
}

// neverChecked panics for a kind that the checker accepts but the code that
// asks does not know. TestEveryKind fails first.
func neverChecked(k Kind) {
	panic("dirty: values of kind " + k.String() + " were accepted but cannot be read")
}

// The sizes of encoded values, in bytes.
const (
	numberSize   = 9 // int64, float64
	prefixSize   = 5 // kind and length, or kind and count
	minEntrySize = 6 // a dict entry: an empty key and None
)

// RawValue is the encoding of one value, kept as it is, as json.RawMessage
// is for JSON. Encoding checks that it is one well-formed value; a nil
// RawValue is None. Decoding into a RawValue copies.
type RawValue []byte

// Dict is a dict whose order matters: Python dicts are ordered, Go maps are
// not. It encodes in its order, and can be decoded into, or be asked for in
// place of map[string]any by [DecodeOptions]. Decoding keeps one entry a key:
// the first position and the last value, as Python does.
type Dict []Entry

// Entry is a key of a [Dict] and its value.
type Entry struct {
	Key   string
	Value any
}

// Get returns the value of the last entry with the key, and whether there is
// one. It looks at every entry.
func (d Dict) Get(key string) (v any, ok bool) {
	for i := len(d) - 1; i >= 0; i-- {
		if d[i].Key == key {
			return d[i].Value, true
		}
	}
	return nil, false
}

// Marshaler is a type that encodes itself. AppendTLV appends one encoded
// value to b and returns the extended slice. It must not keep b nor change
// b[:len(b)], and what is in b is of no meaning to it. What it appends is
// checked; a slice that does not begin with b is an error.
type Marshaler interface {
	AppendTLV(b []byte) ([]byte, error)
}

// Unmarshaler is a type that decodes itself. The data is one well-formed
// value, within the limits; UnmarshalTLV must copy what it keeps. It is not
// called for None where the destination is a pointer, which is set to nil.
type Unmarshaler interface {
	UnmarshalTLV(data []byte) error
}

// Marshal returns the encoding of v. It is deterministic: the keys of maps
// are sorted.
//
// Go values are encoded so, in the manner of [encoding/json]:
//
//   - nil, nil pointers, nil interfaces, nil slices and nil maps as None;
//   - booleans and floats as such, every integer kind as int64; a uint64
//     above [math.MaxInt64] is an [ErrOverflow];
//   - strings as strings, which must be UTF-8;
//   - slices and arrays of bytes as bytes, other slices and arrays as lists;
//   - maps as dicts, by sorted key. Keys are strings, integers (decimal), bools
//     (True, False), [encoding.TextMarshaler], or interfaces that hold one of
//     these or nil (None), as Python's str spells them. Keys that become equal
//     are refused;
//   - [Dict] as a dict in its order, [RawValue] as it is;
//   - structs as dicts of their exported fields in order of declaration. The
//     tag `dirty:"name,omitempty,omitzero"` renames a field or leaves it out,
//     "-" always leaves it out; a field without this tag has its json tag, so
//     read. Embedded structs and conflicts are as in encoding/json;
//   - a [Marshaler] as it says, an [encoding.TextMarshaler] as a string;
//   - a [json.Number] as an int64 if it has no point and no exponent, else as
//     a float64. Other types of encoding/json have no meaning here: a
//     [json.RawMessage] is bytes, and MarshalJSON is not called;
//   - a [time.Duration] is an [ErrUnsupportedType]. Python takes seconds, and
//     would take nanoseconds for them: send d.Seconds();
//   - channels, functions and complex numbers, and values that contain
//     themselves, are an [ErrUnsupportedType].
//
// The error is a [*MarshalError] with the path to the value.
func Marshal(v any) ([]byte, error) { return EncodeOptions{}.Marshal(v) }

// Append appends the encoding of v to b, as [Marshal] says, and returns the
// extended slice. On an error it returns b as it was. It may overwrite what b
// has behind the result, up to its capacity. Apart from growing b it allocates
// nothing, but for what Marshalers, TextMarshalers and map keys that are no
// strings need.
func Append(b []byte, v any) ([]byte, error) { return EncodeOptions{}.Append(b, v) }

// Unmarshal decodes the one value that data is, into what v points to. What
// follows the value is an [ErrTrailingData]. The result owns its memory; it
// does not refer to data. Small parts of it may lie in memory that they share:
// who keeps one for long, and not the rest, may keep its neighbours too.
//
// The whole of data is checked first, so on a [*ProtocolError] nothing was
// stored. An any receives nil, bool, int64, float64, string, []byte, []any
// or map[string]any. Otherwise the destination decides, in the manner of
// [encoding/json]:
//
//   - None sets pointers, interfaces, slices and maps to nil and leaves
//     others as they are;
//   - integers go into every integer and float kind that holds them exactly,
//     floats into integers only if they are whole, into float32 rounded;
//     else it is an [ErrOverflow];
//   - strings go into string kinds and into an [encoding.TextUnmarshaler];
//     bytes into slices and arrays of bytes; never one into the other;
//   - lists go into slices and arrays, but not into those of bytes; an array
//     must be long enough, and its rest is zeroed;
//   - slices keep their memory if it suffices, so that nothing is allocated for
//     the next message; set to nil what must not be overwritten;
//   - dicts go into maps, to which the entries are added, into structs, and
//     into Dict. Keys that no field has are skipped; if no field has just this
//     name, one that differs in case is taken. Inside a Dict all dicts are Dicts;
//   - the last of equal keys wins;
//   - an [Unmarshaler] decodes itself, a [RawValue] takes a copy;
//   - a [json.Number] takes numbers; a [time.Duration] takes nothing but None,
//     see [Marshal].
//
// A value that does not fit is an [*UnmarshalTypeError] with path and
// offset; what came before it is stored.
func Unmarshal(data []byte, v any) error { return DecodeOptions{}.Unmarshal(data, v) }

// UnmarshalFirst decodes the first value of data and returns what follows
// it, which aliases data. On an error rest is data.
func UnmarshalFirst(data []byte, v any) (rest []byte, err error) {
	return DecodeOptions{}.UnmarshalFirst(data, v)
}

// Validate reports whether data is one well-formed value within the limits,
// that is, whether [Unmarshal] into an any succeeds. It builds nothing. The
// error is a [*ProtocolError].
func Validate(data []byte) error { return DecodeOptions{}.Validate(data) }
