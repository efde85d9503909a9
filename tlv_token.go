package dirty

import "math"

// Values one by one, without reflection: the Append functions write them, the
// Decoder reads them.
//
// An Append function appends one value, or the header of a list or a dict, to b
// and returns the extended slice. It boxes nothing and checks nothing: the caller
// sees to it that text is UTF-8, that sizes are within the limits of the peer,
// and that a header is followed by what it announces. [Validate] tells whether
// all is well.

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

// AppendFloat64 appends a float64. It keeps every bit of a NaN.
func AppendFloat64(b []byte, v float64) []byte {
	return appendNumber(b, KindFloat64, math.Float64bits(v))
}

// AppendBytes appends bytes. Peers accept at most [MaxPayloadSize] of them. It
// panics if v has 4 GiB or more, for which there is no encoding.
func AppendBytes(b, v []byte) []byte { return append(appendPrefix(b, KindBytes, len(v)), v...) }

// AppendString appends a string, which must be UTF-8 and which it does not check.
// Peers accept at most [MaxPayloadSize] bytes. It panics if v has 4 GiB or more,
// for which there is no encoding.
func AppendString(b []byte, v string) []byte {
	return append(appendPrefix(b, KindString, len(v)), v...)
}

// AppendListHeader appends the header of a list. The caller appends the n elements
// after it. Peers accept at most [MaxElements]. It panics if n is negative or
// does not fit 32 bits.
func AppendListHeader(b []byte, n int) []byte { return appendPrefix(b, KindList, n) }

// AppendDictHeader appends the header of a dict. The caller appends the n entries
// after it, each a string ([AppendString]) and a value. Peers accept at most
// [MaxElements]. It panics if n is negative or does not fit 32 bits.
func AppendDictHeader(b []byte, n int) []byte { return appendPrefix(b, KindDict, n) }

// Decoder reads encoded values one by one. It is for sniffers, proxies and other
// code that needs no tree of values. After ListHeader the caller reads as many
// elements as that returned. After DictHeader it reads as many entries, each with
// [Decoder.Key] and then the method for the value.
//
// A fault of the data is a [*ProtocolError], which every later call returns again.
// A method that is called for a value of another kind returns an
// [*UnmarshalTypeError]; then another method can read the value.
//
// The limits are those of [Unmarshal], with two exceptions. MaxMemory has no
// effect, because nothing is built. MaxDepth is checked only by Skip and Raw,
// because the caller knows how deep it is.
//
// NewDecoder makes a Decoder; the zero value has no data. A Decoder must not be
// used concurrently.
type Decoder struct {
	check checker
	err   error // the first fault, which every later call returns
}

// NewDecoder returns a Decoder that begins at the start of data, with the default
// limits. The data must not change while the Decoder is used.
func NewDecoder(data []byte) *Decoder { return DecodeOptions{}.NewDecoder(data) }

// NewDecoder is [NewDecoder] with options, of which only the limits count. If they
// are out of range, every method that reads returns that error.
func (o DecodeOptions) NewDecoder(data []byte) *Decoder {
	err := o.Limits.Validate()
	lim := o.Limits.forDecode()
	lim.MaxMemory = maxMemory
	return &Decoder{check: newChecker(data, lim), err: err}
}

// Offset returns the offset of the next value in the data.
func (d *Decoder) Offset() int { return d.check.off }

// Finish returns an [ErrTrailingData] if data is left, or the fault that a method
// has found before.
func (d *Decoder) Finish() error {
	if d.err == nil && d.check.left() > 0 {
		return d.check.fail(ErrTrailingData, ruleTrailing, 0, int64(d.check.left()))
	}
	return d.err
}

// Kind returns the kind of the next value without reading it. At the end of the
// data it returns an [ErrMalformed].
func (d *Decoder) Kind() (Kind, error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.check.left() == 0 {
		return 0, d.fail(d.check.fail(ErrMalformed, ruleValue, 1, 0))
	}
	k := d.check.kind()
	if !k.valid() {
		return 0, d.fail(d.check.fail(ErrMalformed, ruleKind, 0, int64(k)))
	}
	return k, nil
}

// fail notes a fault of the data.
func (d *Decoder) fail(err *ProtocolError) error {
	d.err = err
	return err
}

// expect checks that the next value is of kind k.
func (d *Decoder) expect(k Kind) error {
	got, err := d.Kind()
	if err == nil && got != k {
		return &UnmarshalTypeError{Err: ErrTypeMismatch, Offset: int64(d.check.off), Kind: got, Reason: "it is not " + k.String()}
	}
	return err
}

// scalar checks the next value, which must be of kind k, moves behind it and
// returns a cursor that can read it. k is not that of a list or a dict.
func (d *Decoder) scalar(k Kind) (cursor, error) {
	if err := d.expect(k); err != nil {
		return cursor{}, err
	}
	c := d.check.cursor
	if err := d.check.value(); err != nil {
		return cursor{}, d.fail(err)
	}
	return c, nil
}

// None reads None.
func (d *Decoder) None() error {
	_, err := d.scalar(KindNone)
	return err
}

// Bool reads a bool. Any byte but 0 is true.
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

// Float64 reads a float64. It keeps every bit of a NaN.
func (d *Decoder) Float64() (float64, error) {
	c, err := d.scalar(KindFloat64)
	if err != nil {
		return 0, err
	}
	return c.float64(), nil
}

// Bytes reads bytes. The result is a part of the data, not a copy. Its capacity is
// its length.
func (d *Decoder) Bytes() ([]byte, error) {
	c, err := d.scalar(KindBytes)
	if err != nil {
		return nil, err
	}
	return c.body(), nil
}

// Text reads a string. The result is valid UTF-8, and a copy.
func (d *Decoder) Text() (string, error) {
	c, err := d.scalar(KindString)
	if err != nil {
		return "", err
	}
	return string(c.body()), nil
}

// Key reads the key of a dict entry, which must be a string. Another kind is an
// [ErrMalformed].
func (d *Decoder) Key() (string, error) {
	key, err := d.KeyBytes()
	return string(key), err
}

// KeyBytes is [Decoder.Key] without an allocation. The result is a part of the
// data, not a copy. Its capacity is its length.
func (d *Decoder) KeyBytes() ([]byte, error) {
	k, err := d.Kind()
	if err != nil {
		return nil, err
	}
	if k != KindString {
		return nil, d.fail(d.check.fail(ErrMalformed, ruleKeyKind, int64(KindString), int64(k)))
	}
	c, err := d.scalar(KindString)
	if err != nil {
		return nil, err
	}
	return c.body(), nil
}

// ListHeader reads the header of a list and returns the number of elements that
// follow. There is at least one byte of data for each of them.
func (d *Decoder) ListHeader() (int, error) { return d.header(KindList) }

// DictHeader reads the header of a dict and returns the number of entries that
// follow. There are at least six bytes of data for each of them.
func (d *Decoder) DictHeader() (int, error) { return d.header(KindDict) }

// header reads the header of a list or a dict.
func (d *Decoder) header(k Kind) (int, error) {
	if err := d.expect(k); err != nil {
		return 0, err
	}
	n, err := d.check.count(k)
	if err != nil {
		return 0, d.fail(err)
	}
	d.check.off += prefixSize
	return n, nil
}

// Skip moves behind the next value and all that is in it, which it checks.
func (d *Decoder) Skip() error {
	_, err := d.Raw()
	return err
}

// Raw checks the next value with all that is in it, moves behind it and returns its
// bytes. They are a part of the data, not a copy. Their capacity is their length.
func (d *Decoder) Raw() (RawValue, error) {
	if d.err != nil {
		return nil, d.err
	}
	begin := d.check.off
	if err := d.check.value(); err != nil {
		return nil, d.fail(err)
	}
	return RawValue(d.check.data[begin:d.check.off:d.check.off]), nil
}
