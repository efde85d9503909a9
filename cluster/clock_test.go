package cluster_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var clockFlag = flag.Bool("cluster.clock", false, "let TestClockThatJumps build the standard library anew and run other tests with it")

// envClock says that this program is one with a clock that jumps.
const envClock = "DIRTY_CLUSTER_TEST_CLOCK"

// TestClockThatJumps runs the tests of this package with a clock whose time of day is
// another one at each look, up to a day off, in each process. So hosts never agree on it.
// The monotonic clock, by which Go measures durations, goes on as it is.
func TestClockThatJumps(t *testing.T) {
	if os.Getenv(envClock) != "" {
		earliest, latest := time.Now().Unix(), time.Now().Unix()
		for range 1000 {
			now := time.Now().Unix()
			earliest, latest = min(earliest, now), max(latest, now)
		}
		assert.Greater(t, latest-earliest, int64(3600), "the clock does not jump")
		return
	}
	if !*clockFlag {
		t.Skip("takes minutes: go test -run ClockThatJumps -v ./cluster -cluster.clock")
	}
	dir := folder(t)
	root, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	source := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	require.NoError(t, err)
	const look = "\tsec, nsec, mono := runtimeNow()\n\tif mono"
	require.Equal(t, 1, strings.Count(string(text), look), "time.Now looks at the clock in another way now")
	// The clock of a synctest bubble has no monotonic part, and does not jump.
	jump := strings.Replace(look, "\n", "\n\tif mono != 0 {\n\t\tsec += int64(nsec)*7919%(2*86400) - 86400\n\t}\n", 1)
	changed, overlay, binary := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay"), filepath.Join(dir, "test")
	require.NoError(t, os.WriteFile(changed, []byte(strings.Replace(string(text), look, jump, 1)), 0o600))
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, replace, 0o600))
	out, err := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)

	cmd := exec.Command(binary, "-test.v", "-test.timeout", "20m")
	cmd.Env = append(os.Environ(), envClock+"=1")
	out, err = cmd.CombinedOutput()
	t.Logf("%s", out)
	assert.NoError(t, err)
}
