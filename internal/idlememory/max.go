//go:build !race

package idlememory

// Max is the most memory, in bytes, that an idle connection may take on one side.
const Max = 10 << 10
