package client

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// listening is the flag of a listening socket in /proc/net/unix.
const listening = "00010000"

// socketByPIDFile finds the one listening Unix socket of the process whose id
// is in the file: its descriptors name inodes, and /proc/net/unix has their
// paths.
func socketByPIDFile(name string) (string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return "", because(ErrUnavailable, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return "", fmt.Errorf("%w: %s holds no process id", ErrUnavailable, name)
	}
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	inodes, err := socketInodes(proc)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("%w: process %d of %s is not running", ErrUnavailable, pid, name)
	case err != nil: // often a matter of permission
		return "", fmt.Errorf("cannot see the sockets of process %d of %s: %w", pid, name, err)
	}
	paths, err := listeningPaths(proc, inodes)
	if err != nil {
		return "", err
	}
	switch len(paths) {
	case 0:
		return "", fmt.Errorf("%w: process %d of %s does not listen on a Unix socket", ErrUnavailable, pid, name)
	case 1:
		return paths[0], nil
	}
	return "", fmt.Errorf("process %d of %s listens on %d Unix sockets: it is no dirty arbiter", pid, name, len(paths))
}

func socketInodes(proc string) (map[string]bool, error) {
	descriptors, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return nil, err
	}
	inodes := map[string]bool{}
	for _, d := range descriptors {
		target, err := os.Readlink(filepath.Join(proc, "fd", d.Name()))
		if err != nil {
			continue // it was closed meanwhile
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			inodes[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return inodes, nil
}

func listeningPaths(proc string, inodes map[string]bool) ([]string, error) {
	table, err := os.Open(filepath.Join(proc, "net", "unix"))
	if err != nil {
		return nil, err
	}
	defer table.Close()
	var paths []string
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		// Num RefCount Protocol Flags Type St Inode Path
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || fields[3] != listening || !inodes[fields[6]] {
			continue
		}
		_, path, _ := strings.Cut(lines.Text(), " "+fields[6]+" ") // it may hold spaces
		if !filepath.IsAbs(path) && !strings.HasPrefix(path, "@") {
			folder, err := os.Readlink(filepath.Join(proc, "cwd"))
			if err != nil {
				return nil, err
			}
			path = filepath.Join(folder, path)
		}
		paths = append(paths, path)
	}
	return paths, lines.Err()
}
