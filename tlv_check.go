package dirty

// checker checks encoded values: all rules and limits, in one pass that
// builds nothing. Whatever reads values after it needs no checks, cannot be
// made to allocate more than the scan has allowed, and knows how much of
// what to allocate.
type checker struct {
	cursor
	lim Limits // filled in

	// claims is the number of bytes that no list or dict has laid claim to
	// yet. Each element is at least a byte and in one container, so honest
	// counts never exceed it; without it nested headers could each announce
	// what is left.
	claims int

	slots int   // elements of lists
	text  int   // bytes of strings that go into shared memory, see decoder.string
	bytes int64 // estimated memory of the decoded value
}

func newChecker(data []byte, lim Limits) checker {
	return checker{cursor: cursor{data: data}, lim: lim, claims: len(data)}
}

// value checks the next value and moves behind it. On an error the cursor is
// before the fault.
func (s *checker) value() *ProtocolError {
	type level struct {
		left   int // elements to come; of a dict keys and values
		depth  int // lists and dicts around them, and the one they are in
		isDict bool
	}
	var (
		few   [8]level
		outer = few[:0] // the root and the containers around the current one, where something is to come
		cur   = level{left: 1}
	)
	for {
		if s.bytes > int64(s.lim.MaxMemory) {
			return s.fail(ErrTooLarge, ruleMemory, int64(s.lim.MaxMemory), s.bytes)
		}
		for cur.left == 0 {
			if len(outer) == 0 {
				return nil
			}
			cur, outer = outer[len(outer)-1], outer[:len(outer)-1]
		}
		if cur.isDict {
			if cur.left = s.entries(cur.left); cur.left == 0 {
				continue
			}
		}
		cur.left--
		if s.left() == 0 {
			return s.fail(ErrMalformed, ruleValue, 1, 0)
		}
		k := s.kind()
		if cur.isDict && cur.left%2 == 1 {
			if k != KindString {
				return s.fail(ErrMalformed, ruleKeyKind, int64(KindString), int64(k))
			}
			n, err := s.length(k)
			if err != nil {
				return err
			}
			s.bytes += roundUp(n)
			s.off += prefixSize + n
			continue
		}
		switch k {
		case KindNone:
			s.off++
		case KindBool:
			if s.left() < 2 {
				return s.fail(ErrMalformed, ruleBool, 2, int64(s.left()))
			}
			s.off += 2
		case KindInt64, KindFloat64:
			if s.left() < numberSize {
				return s.fail(ErrMalformed, ruleNumber, numberSize, int64(s.left()))
			}
			s.off += numberSize
			s.bytes += numberBox
			if !cur.isDict {
				n := s.numbers(k, cur.left)
				cur.left -= n
				s.bytes += numberBox * int64(n)
			}
		case KindBytes:
			n, err := s.length(k)
			if err != nil {
				return err
			}
			s.bytes += sliceBox + roundUp(n)
			s.off += prefixSize + n
		case KindString:
			n, err := s.length(k)
			if err != nil {
				return err
			}
			s.string(n)
			s.off += prefixSize + n
			if !cur.isDict && cur.left > 0 {
				n, err := s.strings(cur.left)
				if err != nil {
					return err
				}
				cur.left -= n
			}
		case KindList, KindDict:
			depth := cur.depth + 1
			if depth > s.lim.MaxDepth {
				return s.fail(ErrTooDeep, ruleDepth, int64(s.lim.MaxDepth), int64(depth))
			}
			n, err := s.count(k)
			if err != nil {
				return err
			}
			s.off += prefixSize
			if cur.left > 0 {
				outer = append(outer, cur)
			}
			cur = level{left: n, depth: depth, isDict: k == KindDict}
			switch {
			case !cur.isDict:
				s.slots += n
				s.bytes += sliceBox + allocated(slotSize*int64(n))
			case n == 0:
				s.bytes += mapBox
			case n <= mapGroup:
				cur.left *= 2
				s.bytes += mapBox + smallMap
			default:
				cur.left *= 2
				s.bytes += mapBox + allocated(mapEntry*int64(n))
			}
		default:
			return s.fail(ErrMalformed, ruleKind, 0, int64(k))
		}
	}
}

// entries moves over keys and values of a dict, left of which are to come, as
// long as these are scalars without a fault, and returns how many are left.
// Most dicts are nothing else, and this loop has no errors to make.
func (s *checker) entries(left int) int {
	rest := s.data[s.off:]
	for left > 0 {
		if left%2 == 0 {
			n, ok := asciiString(rest, s.lim.MaxPayload)
			if !ok {
				break
			}
			s.bytes += roundUp(n)
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
				s.bytes += numberBox
			case KindString:
				if n, ok := asciiString(rest, s.lim.MaxPayload); ok {
					size = prefixSize + n
					s.string(n)
				}
			}
		}
		if size == 0 || size > len(rest) {
			break
		}
		rest = rest[size:]
		left--
	}
	s.off = len(s.data) - len(rest)
	return left
}

// strings checks at most n more strings and moves over them, as cursor.numbers does.
// It stops before one that has another fault than its text.
func (s *checker) strings(n int) (int, *ProtocolError) {
	c := s.cursor
	i := 0
	for i < n && c.left() >= prefixSize && c.kind() == KindString {
		size := int64(c.prefix())
		if size > int64(min(c.left()-prefixSize, s.lim.MaxPayload)) {
			break
		}
		s.string(int(size))
		c.off += prefixSize + int(size)
		i++
	}
	if at := badText(s.data[s.off:c.off]); at >= 0 {
		s.off += at
		_, err := s.length(KindString)
		return 0, err
	}
	s.cursor = c
	return i, nil
}

// string counts what a string of n bytes that is a value takes.
func (s *checker) string(n int) {
	if n > 0 {
		s.bytes += stringBox + roundUp(n)
		if n <= sharedText {
			s.text += n
		}
	}
}

// length checks the next value, bytes or a string, and returns its length.
// gunicorn checks in this order: limit, truncation, UTF-8.
func (s *checker) length(k Kind) (int, *ProtocolError) {
	if s.left() < prefixSize {
		return 0, s.fail(ErrMalformed, rulePrefix, prefixSize, int64(s.left()))
	}
	n := s.prefix()
	if int64(n) > int64(s.lim.MaxPayload) {
		return 0, s.fail(ErrTooLarge, ruleLength(k), int64(s.lim.MaxPayload), int64(n))
	}
	if left := s.left() - prefixSize; int(n) > left {
		return 0, s.fail(ErrMalformed, ruleLengthLeft(k), int64(n), int64(left))
	}
	if k == KindString {
		text := cursor{s.data, s.off}
		if b := text.body(); !isText(b) {
			err := s.fail(ErrInvalidUTF8, ruleUTF8, 0, 0)
			err.Offset += prefixSize + int64(validPrefix(b))
			return 0, err
		}
	}
	return int(n), nil
}

// count checks the header of the next value, a list or a dict, and returns
// the number of elements or entries.
func (s *checker) count(k Kind) (int, *ProtocolError) {
	if s.left() < prefixSize {
		return 0, s.fail(ErrMalformed, rulePrefix, prefixSize, int64(s.left()))
	}
	n := s.prefix()
	if int64(n) > int64(s.lim.MaxElements) {
		return 0, s.fail(ErrTooLarge, ruleCount(k), int64(s.lim.MaxElements), int64(n))
	}
	size := 1
	if k == KindDict {
		size = minEntrySize
	}
	claim := int(n) * size // cannot overflow, n is at most MaxElements
	if left := min(s.claims, s.left()-prefixSize); claim > left {
		return 0, s.fail(ErrMalformed, ruleCountLeft(k), int64(claim), int64(left))
	}
	s.claims -= claim
	return int(n), nil
}

// fail makes the error for the next value. limit is what the rule wants.
func (s *checker) fail(err error, rule string, limit, found int64) *ProtocolError {
	return &ProtocolError{Err: err, Rule: rule, Offset: int64(s.off), Limit: limit, Found: found}
}

// Validate is [Validate] with options.
func (o DecodeOptions) Validate(data []byte) error {
	var s checker
	return o.check(&s, data, true)
}

// check checks the first value of data, and if whole is set that nothing
// follows.
func (o *DecodeOptions) check(s *checker, data []byte, whole bool) error {
	if err := o.Limits.Validate(); err != nil {
		return err
	}
	s.data, s.claims, s.lim = data, len(data), o.Limits.forDecode()
	err := s.value()
	if err == nil && whole && s.left() > 0 {
		err = s.fail(ErrTrailingData, ruleTrailing, 0, int64(s.left()))
	} else if err != nil {
		err.Path = pathAt(data, int(err.Offset))
	}
	if err != nil {
		return err
	}
	return nil
}
