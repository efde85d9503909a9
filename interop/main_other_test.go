//go:build !unix

package interop

import (
	"errors"
	"os"
	"testing"
)

// TestMain says that there is nothing to test: gunicorn needs Unix.
func TestMain(*testing.M) {
	notRun(errors.New("gunicorn needs Unix"))
	if os.Getenv("DIRTY_INTEROP") == "require" {
		os.Exit(1)
	}
}
