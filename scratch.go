package dirty

import "sync"

// scratch is memory for frames or payloads, which Readers and Writers share: who
// waits for the next one holds none.
type scratch struct {
	pool sync.Pool
	kept int // larger memory is not kept
}

var (
	payloads = scratch{kept: firstStep} // taken on the word of a header
	frames   = scratch{kept: 1 << 20}   // a small frame may wait in it for its reader
)

func (s *scratch) get() *[]byte {
	if b, ok := s.pool.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

// put takes memory back, to which nothing refers any more.
func (s *scratch) put(b *[]byte) {
	if cap(*b) > s.kept {
		*b = nil
	}
	s.pool.Put(b)
}
