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

// kinds has the name of each kind. A kind without a name here does not exist.
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

// valid reports whether there is such a kind.
func (k Kind) valid() bool { return kinds[k] != "" }

// String returns the name of the kind, such as "int64", or "Kind(0x7f)" if
// there is no such kind.
func (k Kind) String() string {
	if k.valid() {
		return kinds[k]
	}
	return "Kind(0x" + strconv.FormatUint(uint64(k), 16) + ")"
}

// panicUnreadable panics because the checker accepts a kind that the code which
// reads values does not know. TestEveryKind fails before that happens.
func panicUnreadable(k Kind) {
	panic("dirty: values of kind " + k.String() + " were accepted but cannot be read")
}

// The sizes of encoded values, in bytes.
const (
	numberSize   = 9 // int64, float64
	prefixSize   = 5 // kind and length, or kind and count
	minEntrySize = 6 // a dict entry: an empty key and None
)

// RawValue is the encoding of one value, as json.RawMessage is in JSON. Encoding
// checks that it is one well-formed value; a nil RawValue is None. Decoding into
// a RawValue copies the bytes.
type RawValue []byte

// Dict is a dict that keeps its order, as Python dicts do and Go maps do not.
// It can be encoded and decoded into. With [DecodeOptions].UseDict an any gets a
// Dict in place of a map[string]any. If a key comes several times, decoding
// keeps its first position and its last value, as Python does.
type Dict []Entry

// Entry is a key of a [Dict] and its value.
type Entry struct {
	Key   string
	Value any
}

// Get returns the value of the last entry with the key, and whether there is
// one. It goes through the entries one by one.
func (d Dict) Get(key string) (v any, ok bool) {
	for i := len(d) - 1; i >= 0; i-- {
		if d[i].Key == key {
			return d[i].Value, true
		}
	}
	return nil, false
}

// Marshaler is a type that encodes itself. AppendTLV appends one encoded value
// to b and returns the extended slice. It must not keep b nor change the bytes
// that are in b already, which mean nothing to it. What it appends is checked. A
// result that does not begin with b is an error.
type Marshaler interface {
	AppendTLV(b []byte) ([]byte, error)
}

// Unmarshaler is a type that decodes itself. UnmarshalTLV gets one well-formed
// value within the limits. It must copy what it keeps. If the destination is a
// pointer, None sets it to nil and UnmarshalTLV is not called.
type Unmarshaler interface {
	UnmarshalTLV(data []byte) error
}

// Marshal returns the encoding of v. Equal values have equal encodings, because
// the keys of maps are sorted. It may be used concurrently.
//
// Go values are encoded in the manner of [encoding/json]:
//
//   - nil, nil pointers, nil interfaces, nil slices and nil maps become None.
//   - Booleans and floats become bool and float64. Every integer becomes an
//     int64; a uint64 above [math.MaxInt64] is an [ErrOverflow].
//   - Strings become strings. They must be UTF-8.
//   - Slices and arrays of bytes become bytes, other slices and arrays lists.
//   - Maps become dicts, sorted by key. Keys can be strings, integers
//     (decimal), bools (True and False), an [encoding.TextMarshaler], and
//     interfaces that hold one of these or nil (None). They are spelled as by
//     Python's str. Two keys with the same spelling are refused.
//   - A [Dict] becomes a dict in its order. A [RawValue] is appended as it is.
//   - Structs become dicts of their exported fields, in order of declaration.
//     The tag `dirty:"name,omitempty,omitzero"` renames a field and leaves it out
//     if it is empty or zero. The tag "-" always leaves it out. If a field has
//     no such tag, its json tag counts. Embedded structs and fields of one name
//     are treated as in encoding/json.
//   - A [Marshaler] becomes what it appends, an [encoding.TextMarshaler] a
//     string.
//   - A [json.Number] without a point and an exponent becomes an int64, another
//     one a float64. Other types of encoding/json get no special treatment: a
//     [json.RawMessage] becomes bytes, and MarshalJSON is not called.
//   - A [time.Duration] is an [ErrUnsupportedType], because Python would take
//     its nanoseconds for seconds. Send d.Seconds() instead.
//   - Channels, functions, complex numbers and values that contain themselves
//     are an [ErrUnsupportedType].
//
// The error is a [*MarshalError] with the path to the value at fault.
func Marshal(v any) ([]byte, error) { return EncodeOptions{}.Marshal(v) }

// Append appends the encoding of v to b, as [Marshal] says, and returns the
// extended slice. On an error it returns b as it was. It may overwrite the bytes
// between the length and the capacity of b. It allocates memory only to grow b,
// and for Marshalers, TextMarshalers and map keys that are no strings.
func Append(b []byte, v any) ([]byte, error) { return EncodeOptions{}.Append(b, v) }

// Unmarshal decodes data, which must be one value, into what v points to. More
// data after the value is an [ErrTrailingData]. It may be used concurrently.
//
// The result owns its memory and does not refer to data. Small parts of it may
// share memory with each other: a caller that keeps only one of them may keep a
// few KiB of others, and what those refer to.
//
// The whole of data is checked first, so on a [*ProtocolError] nothing was
// stored. An any receives nil, bool, int64, float64, string, []byte, []any
// or map[string]any. Otherwise the destination decides, in the manner of
// [encoding/json]:
//
//   - None sets pointers, interfaces, slices and maps to nil. It leaves other
//     destinations as they are.
//   - Integers fit every integer and float type that holds them exactly. Floats
//     fit an integer type only if they are whole. A float32 takes the rounded
//     float64. What does not fit is an [ErrOverflow].
//   - Strings fit string types and an [encoding.TextUnmarshaler]. Bytes fit
//     slices and arrays of bytes. Neither fits the other's destination.
//   - Lists fit slices and arrays, but not those of bytes. An array must be long
//     enough; the rest of it is set to zero.
//   - Slices keep their memory if it suffices, so that decoding the next message
//     allocates nothing. Set a slice to nil if it must not be overwritten.
//   - Dicts fit maps, structs and Dict. A map keeps its other entries. A struct
//     takes the field of the same name, or else one that differs in case; keys
//     without a field are skipped. Inside a Dict every dict becomes a Dict.
//   - If a key comes several times, the last one counts.
//   - An [Unmarshaler] decodes itself. A [RawValue] gets a copy.
//   - Numbers fit a [json.Number]. Nothing but None fits a [time.Duration], see
//     [Marshal].
//
// A value that does not fit is an [*UnmarshalTypeError] with its path and its
// offset. The values before it were stored.
func Unmarshal(data []byte, v any) error { return DecodeOptions{}.Unmarshal(data, v) }

// UnmarshalFirst decodes the first value of data, as [Unmarshal] does, and returns
// the data that follows it. rest is a part of data, not a copy. On an error it is
// the whole of data.
func UnmarshalFirst(data []byte, v any) (rest []byte, err error) {
	return DecodeOptions{}.UnmarshalFirst(data, v)
}

// Validate returns an error unless data is one well-formed value within the
// default limits, which [Unmarshal] can decode into an any. It builds nothing and
// allocates nothing. The error is a [*ProtocolError].
func Validate(data []byte) error { return DecodeOptions{}.Validate(data) }
