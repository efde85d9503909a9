package python

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRun is a short run, where the environment is there or is wanted.
func TestRun(t *testing.T) {
	if os.Getenv("DIRTY_INTEROP") != "require" {
		t.Skip("DIRTY_INTEROP is not require")
	}
	r, err := Run(1, time.Microsecond, func(string) {})
	require.NoError(t, err)
	require.Contains(t, r.About, "gunicorn")
	require.Len(t, r.Tables(), 5)
	require.Len(t, r.Summary(), 3)
	require.NotEmpty(t, r.Goals())
}
