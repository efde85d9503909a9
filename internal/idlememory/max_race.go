//go:build race

package idlememory

// Max is the most memory, in bytes, that an idle connection may take on one side. With the
// race detector functions need more of the stack.
const Max = 12 << 10
