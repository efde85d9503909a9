package dirty

// Every rule and limit of encoded values is here. What is decoded is checked whole
// before anything is built. So the code that builds values has no checks, cannot
// fail but by type, and allocates no more than the checker has allowed.

// Validate is [Validate] with options.
func (o DecodeOptions) Validate(data []byte) error {
	var c checker
	return o.check(&c, data, true)
}

// check uses c, which is empty, to check the first value of data. If whole is set,
// it also checks that nothing follows the value.
func (o *DecodeOptions) check(c *checker, data []byte, whole bool) error {
	if err := o.Limits.Validate(); err != nil {
		return err
	}
	c.data, c.claims, c.lim = data, len(data), o.Limits.forDecode()
	err := c.value()
	if err == nil && whole && c.left() > 0 {
		err = c.fail(ErrTrailingData, ruleTrailing, 0, int64(c.left()))
	} else if err != nil {
		err.Path = pathAt(data, int(err.Offset))
	}
	if err != nil {
		return err
	}
	return nil
}

// checker checks encoded values in one pass, which builds nothing. It also adds up
// what they will need, for the builder.
//
// Always everything before off is well-formed and counted in slots, text and bytes.
type checker struct {
	cursor
	lim Limits // with every default filled in

	// claims is how many bytes no list or dict has claimed for its elements
	// yet. An element takes at least one byte and belongs to one list or dict,
	// so honest counts never exceed it. Without it each of many nested lists
	// could announce all bytes that are left.
	claims int

	slots int   // elements of all lists
	text  int   // bytes of the strings that will share memory, see builder.string
	bytes int64 // estimated memory of what is decoded, see Limits.MaxMemory
}

func newChecker(data []byte, lim Limits) checker {
	return checker{cursor: cursor{data: data}, lim: lim, claims: len(data)}
}

// value checks the next value and moves behind it. On an error it stays before the
// fault.
//
// It does not recurse. cur is the list or dict that holds the next value. outer are
// those around it that still have values to come. The outermost one is not in the
// data: its only element is the value to check.
//
// Each round compares the memory with its limit. A round may exceed the limit, which
// does no harm because nothing is built.
func (c *checker) value() *ProtocolError {
	type level struct {
		left   int // elements that are still to come; in a dict keys and values both count
		depth  int // how many lists and dicts these elements are in
		isDict bool
	}
	var (
		few   [8]level
		outer = few[:0]
		cur   = level{left: 1}
	)
	for {
		if c.bytes > int64(c.lim.MaxMemory) {
			return c.fail(ErrTooLarge, ruleMemory, int64(c.lim.MaxMemory), c.bytes)
		}
		for cur.left == 0 {
			if len(outer) == 0 {
				return nil
			}
			cur, outer = outer[len(outer)-1], outer[:len(outer)-1]
		}
		if cur.isDict {
			if cur.left = c.entries(cur.left); cur.left == 0 {
				continue
			}
		}
		cur.left--
		if c.left() == 0 {
			return c.fail(ErrMalformed, ruleValue, 1, 0)
		}
		k := c.kind()
		if cur.isDict && cur.left%2 == 1 { // it is a key, because its value is to come
			if k != KindString {
				return c.fail(ErrMalformed, ruleKeyKind, int64(KindString), int64(k))
			}
			n, err := c.length(k)
			if err != nil {
				return err
			}
			c.bytes += roundUp(n)
			c.off += prefixSize + n
			continue
		}
		switch k {
		case KindNone:
			c.off++
		case KindBool:
			if c.left() < 2 {
				return c.fail(ErrMalformed, ruleBool, 2, int64(c.left()))
			}
			c.off += 2
		case KindInt64, KindFloat64:
			if c.left() < numberSize {
				return c.fail(ErrMalformed, ruleNumber, numberSize, int64(c.left()))
			}
			c.off += numberSize
			c.bytes += numberBox
			if !cur.isDict {
				n := c.numbers(k, cur.left)
				cur.left -= n
				c.bytes += numberBox * int64(n)
			}
		case KindBytes:
			n, err := c.length(k)
			if err != nil {
				return err
			}
			c.bytes += sliceBox + roundUp(n)
			c.off += prefixSize + n
		case KindString:
			n, err := c.length(k)
			if err != nil {
				return err
			}
			c.string(n)
			c.off += prefixSize + n
			if !cur.isDict && cur.left > 0 {
				n, err := c.strings(cur.left)
				if err != nil {
					return err
				}
				cur.left -= n
			}
		case KindList, KindDict:
			depth := cur.depth + 1
			if depth > c.lim.MaxDepth {
				return c.fail(ErrTooDeep, ruleDepth, int64(c.lim.MaxDepth), int64(depth))
			}
			n, err := c.count(k)
			if err != nil {
				return err
			}
			c.off += prefixSize
			if cur.left > 0 {
				outer = append(outer, cur)
			}
			cur = level{left: n, depth: depth, isDict: k == KindDict}
			switch {
			case !cur.isDict:
				c.slots += n
				c.bytes += sliceBox + allocated(slotSize*int64(n))
			case n == 0:
				c.bytes += mapBox
			case n <= mapGroup:
				cur.left *= 2
				c.bytes += mapBox + smallMap
			default:
				cur.left *= 2
				c.bytes += mapBox + allocated(mapEntry*int64(n))
			}
		default:
			return c.fail(ErrMalformed, ruleKind, 0, int64(k))
		}
	}
}

// entries is for speed. It checks keys and values of a dict in a short loop, as long as
// they are None, bools, numbers and ASCII strings without a fault. Most dicts hold
// nothing else. left keys and values are still to come, and it returns how many are
// left after it. value goes on from there, and makes the errors.
func (c *checker) entries(left int) int {
	rest := c.data[c.off:]
	for left > 0 {
		if left%2 == 0 {
			n, ok := asciiString(rest, c.lim.MaxPayload)
			if !ok {
				break
			}
			c.bytes += roundUp(n)
			rest = rest[prefixSize+n:]
			left--
		}
		size := 0
		if len(rest) > 0 {
			switch Kind(rest[0]) {
			case KindNone:
				size = 1
			case KindBool:
				size = 2
			case KindInt64, KindFloat64:
				size = numberSize
				c.bytes += numberBox
			case KindString:
				if n, ok := asciiString(rest, c.lim.MaxPayload); ok {
					size = prefixSize + n
					c.string(n)
				}
			}
		}
		if size == 0 || size > len(rest) {
			break
		}
		rest = rest[size:]
		left--
	}
	c.off = len(c.data) - len(rest)
	return left
}

// strings is for speed. It checks the strings that are next, at most n of them, moves
// over them and returns how many there were. It looks at all of their text at once.
// It stops before a string that has another fault than its text, for which value
// makes the error.
func (c *checker) strings(n int) (int, *ProtocolError) {
	ahead := c.cursor
	i := 0
	for i < n && ahead.left() >= prefixSize && ahead.kind() == KindString {
		size := int64(ahead.prefix())
		if size > int64(min(ahead.left()-prefixSize, c.lim.MaxPayload)) {
			break
		}
		c.string(int(size))
		ahead.off += prefixSize + int(size)
		i++
	}
	if at := badText(c.data[c.off:ahead.off]); at >= 0 {
		c.off += at
		_, err := c.length(KindString)
		return 0, err
	}
	c.cursor = ahead
	return i, nil
}

// string counts what a value that is a string of n bytes needs.
func (c *checker) string(n int) {
	if n > 0 {
		c.bytes += stringBox + roundUp(n)
		if n <= sharedText {
			c.text += n
		}
	}
}

// length checks the next value, which is bytes or a string, and returns its length.
// It checks in gunicorn's order: the limit, then whether there are enough bytes,
// then UTF-8.
func (c *checker) length(k Kind) (int, *ProtocolError) {
	if c.left() < prefixSize {
		return 0, c.fail(ErrMalformed, rulePrefix, prefixSize, int64(c.left()))
	}
	n := c.prefix()
	if int64(n) > int64(c.lim.MaxPayload) {
		return 0, c.fail(ErrTooLarge, ruleLength(k), int64(c.lim.MaxPayload), int64(n))
	}
	if left := c.left() - prefixSize; int(n) > left {
		return 0, c.fail(ErrMalformed, ruleLengthLeft(k), int64(n), int64(left))
	}
	if k == KindString {
		text := cursor{c.data, c.off}
		if b := text.body(); !isText(b) {
			err := c.fail(ErrInvalidUTF8, ruleUTF8, 0, 0)
			err.Offset += prefixSize + int64(validPrefix(b))
			return 0, err
		}
	}
	return int(n), nil
}

// count checks the header of the next value, which is a list or a dict, and returns
// the number of its elements or entries.
func (c *checker) count(k Kind) (int, *ProtocolError) {
	if c.left() < prefixSize {
		return 0, c.fail(ErrMalformed, rulePrefix, prefixSize, int64(c.left()))
	}
	n := c.prefix()
	if int64(n) > int64(c.lim.MaxElements) {
		return 0, c.fail(ErrTooLarge, ruleCount(k), int64(c.lim.MaxElements), int64(n))
	}
	size := 1
	if k == KindDict {
		size = minEntrySize
	}
	claim := int(n) * size // cannot overflow, because n is at most MaxElements
	if left := min(c.claims, c.left()-prefixSize); claim > left {
		return 0, c.fail(ErrMalformed, ruleCountLeft(k), int64(claim), int64(left))
	}
	c.claims -= claim
	return int(n), nil
}

// fail returns the error for the next value. limit is what the rule wants.
func (c *checker) fail(err error, rule string, limit, found int64) *ProtocolError {
	return &ProtocolError{Err: err, Rule: rule, Offset: int64(c.off), Limit: limit, Found: found}
}
