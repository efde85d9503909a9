package main

import (
	"bufio"
	"os"
	"strings"
)

// readListeningSockets returns the paths of the Unix sockets on which somebody listens,
// as /proc/net/unix has them. They are hints: a path can hold anything.
func readListeningSockets() (paths []string) {
	const listening = "00010000"
	file, err := os.Open("/proc/net/unix")
	if err != nil {
		return nil
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		// Num RefCount Protocol Flags Type St Inode Path
		fields := strings.SplitN(strings.Join(strings.Fields(lines.Text()), " "), " ", 8)
		if len(fields) == 8 && fields[3] == listening && strings.HasPrefix(fields[7], "/") {
			paths = append(paths, fields[7])
		}
	}
	return paths
}
