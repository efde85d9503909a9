// Package loud prints what tests did not run, so that nobody misses it.
package loud

import (
	"fmt"
	"os"
)

// Say prints a line on standard error and on the terminal, if there is one. go test
// hides the standard error of packages that pass, but it cannot hide what is written
// to the terminal. The arguments are those of [fmt.Printf]. It may be called
// concurrently.
func Say(format string, args ...any) {
	text := fmt.Sprintf(format, args...) + "\n"
	fmt.Fprint(os.Stderr, text)
	if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil {
		fmt.Fprint(tty, text)
		_ = tty.Close() // an error changes nothing
	}
}
