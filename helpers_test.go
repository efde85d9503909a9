package dirty_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// shortTempDir is t.TempDir with a path that leaves room for the name of a
// socket, which may have about 100 bytes.
func shortTempDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "d")
	require.NoError(tb, err)
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
