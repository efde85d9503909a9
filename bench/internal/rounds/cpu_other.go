//go:build !unix

package rounds

import "time"

// CPU is [Wall] on this system.
func CPU() time.Duration { return Wall() }
