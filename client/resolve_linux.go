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
// paths. Those that its parent has too are the web server's, inherited.
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
	for inode := range parentInodes(proc) {
		delete(inodes, inode)
	}
	paths, err := listeningPaths(proc, inodes)
	if err != nil {
		return "", err
	}
	if named := withName(paths, "arbiter.sock"); len(paths) > 1 && len(named) == 1 {
		paths = named // the parent has ended or cannot be seen
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

// parentInodes returns the sockets of a process's parent, as far as they can be
// seen.
func parentInodes(proc string) map[string]bool {
	status, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(status)) {
		if parent, ok := strings.CutPrefix(line, "PPid:"); ok {
			inodes, _ := socketInodes(filepath.Join("/proc", strings.TrimSpace(parent)))
			return inodes
		}
	}
	return nil
}

// withName returns the paths whose last element is the name.
func withName(paths []string, name string) []string {
	var named []string
	for _, path := range paths {
		if filepath.Base(path) == name {
			named = append(named, path)
		}
	}
	return named
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
