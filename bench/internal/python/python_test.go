package python

import (
	"os"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/internal/loud"
	"github.com/stretchr/testify/require"
)

// TestRun does a short run. That makes an environment, so it runs only if it is
// asked to, as CI does.
func TestRun(t *testing.T) {
	if os.Getenv("DIRTY_INTEROP") != "require" {
		loud.Say("bench: NOT RUN beside gunicorn's own codec: DIRTY_INTEROP=require makes the environment and runs")
		t.Skip("NOT RUN: needs DIRTY_INTEROP=require")
	}
	r, err := Run(1, time.Microsecond, func(string) {})
	require.NoError(t, err)
	require.Contains(t, r.About, "gunicorn")
	require.Len(t, r.Tables(), 5)
	require.Len(t, r.Summary(), 3)
	require.NotEmpty(t, r.Goals())
}
