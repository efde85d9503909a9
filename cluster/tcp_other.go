//go:build !linux

package cluster

import "time"

// setUserTimeout does nothing: this system has no such bound.
func setUserTimeout(uintptr, time.Duration) error { return nil }
