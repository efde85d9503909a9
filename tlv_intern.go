package dirty

// nameCache remembers dict keys, which repeat from row to row and from
// message to message.
type nameCache [256]string

// longestName is the longest key that is remembered.
const longestName = 64

// slot returns where text that is not empty belongs. Texts that differ in
// length, or at the ends or in the middle, mostly differ in it.
func slot(b []byte) byte {
	return byte(len(b)*7) ^ b[0] ^ b[len(b)-1]<<3 ^ b[len(b)/2]<<1
}

func (c *nameCache) get(b []byte) string {
	if len(b) == 0 || len(b) > longestName {
		return string(b)
	}
	s := &c[slot(b)]
	if *s != string(b) {
		*s = string(b)
	}
	return *s
}

// textCache remembers short strings that are values of dicts: names of
// applications, actions and models, states, roles. They come out in an any
// that exists already.
type textCache struct {
	texts [256]any
	luck  int // rises with a text that is there, falls with each other
}

const (
	longestText = 32
	mostLuck    = 64
	patience    = 64 // without luck, one of so many texts is looked up
)

// worthwhile reports whether to look up the next text: where all texts differ
// there is nothing to win.
func (c *textCache) worthwhile() bool {
	if c.luck--; c.luck < -patience {
		c.luck = 0
	}
	return c.luck >= 0
}

// get returns a text that is not empty nor longer than longestText.
func (c *textCache) get(b []byte) any {
	t := &c.texts[slot(b)]
	if s, ok := (*t).(string); ok && s == string(b) {
		c.luck = min(c.luck+5, mostLuck)
		return *t
	}
	*t = string(b)
	return *t
}
