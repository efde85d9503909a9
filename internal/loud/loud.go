// Package loud is how tests say what they did not run.
package loud

import (
	"fmt"
	"os"
)

// Say writes a line where go test cannot hide it: it hides the output of
// packages that pass, but not the terminal.
func Say(format string, args ...any) {
	text := fmt.Sprintf(format, args...) + "\n"
	fmt.Fprint(os.Stderr, text)
	if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil {
		fmt.Fprint(tty, text)
		_ = tty.Close() // nothing can be done about it
	}
}
