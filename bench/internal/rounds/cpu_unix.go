//go:build unix

package rounds

import (
	"syscall"
	"time"
)

// CPU is the time that processors have worked for this process, in all its
// threads: the collector counts too, other programs do not.
func CPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err) // the arguments are right, so it cannot fail
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
