package report

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Facts say where and with what was measured.
type Facts struct {
	Machine string
	Go      string
	Date    string
	Commit  string
}

// GatherFacts asks the system and git.
func GatherFacts() Facts {
	return Facts{
		Machine: machine(),
		Go:      fmt.Sprintf("%s, GOMAXPROCS=%d", runtime.Version(), runtime.GOMAXPROCS(0)),
		Date:    time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		Commit:  commit(),
	}
}

func machine() string {
	cpu := "unknown processor"
	info, _ := os.ReadFile("/proc/cpuinfo") // Linux only
	for line := range bytes.Lines(info) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == "model name" {
			cpu = strings.TrimSpace(value)
			break
		}
	}
	system := runtime.GOOS + "/" + runtime.GOARCH
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		system += " " + strings.TrimSpace(string(release))
	}
	return fmt.Sprintf("%s, %d cores, %s", cpu, runtime.NumCPU(), system)
}

// commit returns the commit, and says so if the tree has other changes than this
// page, its charts and the README, which has a copy of its first table.
func commit() string {
	head, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(head))
	changes, err := exec.Command("git", "status", "--porcelain", "--",
		":/", ":(top,exclude)README.md", ":(top,exclude)docs/BENCHMARKS.md", ":(top,exclude)docs/bench-*.svg").Output()
	if err != nil || len(changes) > 0 {
		name += ", dirty tree"
	}
	return name
}

// Version returns the version of a module that this program was built with.
func Version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == module {
			return m.Version
		}
	}
	return "unknown"
}
