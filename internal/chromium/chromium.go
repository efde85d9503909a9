// Package chromium finds the browser that tests of pages run in.
package chromium

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/internal/loud"
)

// StartTime bounds how long Chromium may take to start. On a busy machine it takes tens of
// seconds.
const StartTime = 5 * time.Minute

// Flags make Chromium run without a screen, without a sandbox, which root cannot
// have, and without a word to anybody but the page.
var Flags = []string{
	"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "no-default-browser-check",
	"disable-background-networking", "disable-component-update", "disable-sync", "disable-extensions",
	"disable-dev-shm-usage", "mute-audio",
}

// Need returns the path of Chromium. Without one the test is skipped, which is said
// loudly. Where CI is set, or DIRTY_INTEROP is "require", it fails. DIRTY_INTEROP=off
// skips it in any case.
func Need(t testing.TB) string {
	t.Helper()
	interop := os.Getenv("DIRTY_INTEROP")
	if interop == "off" {
		skip(t, "DIRTY_INTEROP=off")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const reason = "Chromium is not in PATH (apt-get install chromium)"
	if os.Getenv("CI") != "" || interop == "require" {
		t.Fatal(reason)
	}
	skip(t, reason)
	return ""
}

func skip(t testing.TB, reason string) {
	t.Helper()
	loud.Say("NOT RUN: %s: %s", t.Name(), reason)
	t.Skip(reason)
}
