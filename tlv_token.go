package dirty

import (
	"math"
)

// AppendNone appends None.
func AppendNone(b []byte) []byte { return append(b, byte(KindNone)) }

// AppendBool appends a bool.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, byte(KindBool), 1)
	}
	return append(b, byte(KindBool), 0)
}

// AppendInt64 appends an int64.
func AppendInt64(b []byte, v int64) []byte { return appendNumber(b, KindInt64, uint64(v)) }

// AppendFloat64 appends a float64; every bit of a NaN is kept.
func AppendFloat64(b []byte, v float64) []byte {
	return appendNumber(b, KindFloat64, math.Float64bits(v))
}

// AppendBytes appends bytes. It panics if v is longer than 4 GiB, which has
// no encoding; peers accept at most [MaxPayloadSize].
func AppendBytes(b, v []byte) []byte { return append(appendPrefix(b, KindBytes, len(v)), v...) }

// AppendString appends a string, which should be valid UTF-8. It panics if
// v is longer than 4 GiB, which has no encoding; peers accept at most
// [MaxPayloadSize].
func AppendString(b []byte, v string) []byte {
	return append(appendPrefix(b, KindString, len(v)), v...)
}

// AppendListHeader appends the header of a list; n values must follow. It
// panics if n is negative or has no encoding; peers accept at most
// [MaxElements].
func AppendListHeader(b []byte, n int) []byte { return appendPrefix(b, KindList, n) }

// AppendDictHeader appends the header of a dict; n entries must follow, each
// a string (AppendString) and a value. It panics if n is negative or has no
// encoding; peers accept at most [MaxElements].
func AppendDictHeader(b []byte, n int) []byte { return appendPrefix(b, KindDict, n) }

// Decoder walks over encoded values, one at a time and without boxing: for
// sniffers, proxies and other code that does not want a tree of values.
// After ListHeader and DictHeader the caller reads as many elements as they
// say; for a dict in turn [Decoder.Key] and the value.
//
// A fault of the data is a [*ProtocolError], and every later call returns it
// again. A method that is called for another kind of value returns an
// [*UnmarshalTypeError], and the value can be read by another method.
//
// The limits hold as for [Unmarshal], but for MaxMemory, because nothing is
// built, and for MaxDepth, which only Skip and Raw check: the caller knows
// how deep it is. A Decoder must not be used concurrently.
type Decoder struct {
	s   checker
	err error // sticky
}

// NewDecoder returns a Decoder that begins at the start of data, with the
// default limits. What the Decoder returns may alias data, which must not
// change meanwhile.
func NewDecoder(data []byte) *Decoder { return DecodeOptions{}.NewDecoder(data) }

// NewDecoder is [NewDecoder] with options. Limits out of range are reported
// by the first call.
func (o DecodeOptions) NewDecoder(data []byte) *Decoder {
	err := o.Limits.Validate()
	lim := o.Limits.forDecode()
	lim.MaxMemory = maxMemory
	return &Decoder{s: newChecker(data, lim), err: err}
}

// Offset returns the offset of the next value in the data.
func (d *Decoder) Offset() int { return d.s.off }

// Finish returns an [ErrTrailingData] if there is data left.
func (d *Decoder) Finish() error {
	if d.err == nil && d.s.left() > 0 {
		return d.s.fail(ErrTrailingData, ruleTrailing, 0, int64(d.s.left()))
	}
	return d.err
}

// Kind returns the kind of the next value and stays before it. At the end of
// the data it is an [ErrMalformed].
func (d *Decoder) Kind() (Kind, error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.s.left() == 0 {
		return 0, d.fail(d.s.fail(ErrMalformed, ruleValue, 1, 0))
	}
	k := d.s.kind()
	if !k.valid() {
		return 0, d.fail(d.s.fail(ErrMalformed, ruleKind, 0, int64(k)))
	}
	return k, nil
}

func (d *Decoder) fail(err *ProtocolError) error {
	d.err = err
	return err
}

// expect checks that the next value is of a kind.
func (d *Decoder) expect(k Kind) error {
	got, err := d.Kind()
	if err == nil && got != k {
		return &UnmarshalTypeError{Err: ErrTypeMismatch, Offset: int64(d.s.off), Kind: got, Reason: "it is not " + k.String()}
	}
	return err
}

// scalar checks the next value, of a kind that holds no others, moves behind
// it and returns a cursor before it.
func (d *Decoder) scalar(k Kind) (cursor, error) {
	if err := d.expect(k); err != nil {
		return cursor{}, err
	}
	c := d.s.cursor
	if err := d.s.value(); err != nil {
		return cursor{}, d.fail(err)
	}
	return c, nil
}

// None reads None.
func (d *Decoder) None() error {
	_, err := d.scalar(KindNone)
	return err
}

// Bool reads a bool; any byte but 0 is true.
func (d *Decoder) Bool() (bool, error) {
	c, err := d.scalar(KindBool)
	if err != nil {
		return false, err
	}
	return c.bool(), nil
}

// Int64 reads an int64.
func (d *Decoder) Int64() (int64, error) {
	c, err := d.scalar(KindInt64)
	if err != nil {
		return 0, err
	}
	return c.int64(), nil
}

// Float64 reads a float64; every bit of a NaN is kept.
func (d *Decoder) Float64() (float64, error) {
	c, err := d.scalar(KindFloat64)
	if err != nil {
		return 0, err
	}
	return c.float64(), nil
}

// Bytes reads bytes. The result aliases the data; its capacity is its
// length.
func (d *Decoder) Bytes() ([]byte, error) {
	c, err := d.scalar(KindBytes)
	if err != nil {
		return nil, err
	}
	return c.body(), nil
}

// Text reads a string, which is valid UTF-8.
func (d *Decoder) Text() (string, error) {
	c, err := d.scalar(KindString)
	if err != nil {
		return "", err
	}
	return string(c.body()), nil
}

// Key reads the key of a dict entry: a string. Another kind is an
// [ErrMalformed].
func (d *Decoder) Key() (string, error) {
	key, err := d.KeyBytes()
	return string(key), err
}

// KeyBytes is [Decoder.Key] without an allocation. The result aliases the data;
// its capacity is its length.
func (d *Decoder) KeyBytes() ([]byte, error) {
	k, err := d.Kind()
	if err != nil {
		return nil, err
	}
	if k != KindString {
		return nil, d.fail(d.s.fail(ErrMalformed, ruleKeyKind, int64(KindString), int64(k)))
	}
	c, err := d.scalar(KindString)
	if err != nil {
		return nil, err
	}
	return c.body(), nil
}

// ListHeader reads the header of a list and returns the number of elements
// that follow. They fit into the data that is left.
func (d *Decoder) ListHeader() (int, error) { return d.header(KindList) }

// DictHeader reads the header of a dict and returns the number of entries
// that follow. They fit into the data that is left.
func (d *Decoder) DictHeader() (int, error) { return d.header(KindDict) }

func (d *Decoder) header(k Kind) (int, error) {
	if err := d.expect(k); err != nil {
		return 0, err
	}
	n, err := d.s.count(k)
	if err != nil {
		return 0, d.fail(err)
	}
	d.s.off += prefixSize
	return n, nil
}

// Skip moves behind the next value and all that is in it.
func (d *Decoder) Skip() error {
	_, err := d.Raw()
	return err
}

// Raw returns the bytes of the next value, which aliases the data, and moves
// behind it and all that is in it.
func (d *Decoder) Raw() (RawValue, error) {
	if d.err != nil {
		return nil, d.err
	}
	begin := d.s.off
	if err := d.s.value(); err != nil {
		return nil, d.fail(err)
	}
	return RawValue(d.s.data[begin:d.s.off:d.s.off]), nil
}
