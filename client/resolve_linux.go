package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// socketByPIDFile finds the one listening Unix socket of the process whose id
// is in the file. The process's descriptors name inodes, and /proc/net/unix has
// their paths. Sockets that its parent has too are inherited, from a web server
// as a rule.
func socketByPIDFile(ctx context.Context, name string) (path string, pid int, err error) {
	pid, err = readPIDFile(name)
	if err != nil {
		return "", 0, err
	}
	path, err = socketOf(ctx, pid)
	if err != nil {
		return "", 0, fmt.Errorf("%w (process %d of the pid file %q)", err, pid, name)
	}
	return path, pid, nil
}

// socketOf returns the path of the socket on which a process listens.
func socketOf(ctx context.Context, pid int) (string, error) {
	if err := checkProcess(pid); err != nil {
		return "", err
	}
	inodes, err := socketInodes(ctx, pid)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", errNotRunning
	case err != nil:
		return "", fmt.Errorf("cannot see the sockets of the process: %w", err)
	}
	if stat, err := readStat(pid); err == nil {
		inherited, _ := socketInodes(ctx, stat.parent) // as far as they can be seen
		for inode := range inherited {
			delete(inodes, inode)
		}
	}
	paths, err := listeningPaths(ctx, pid, inodes)
	if err != nil {
		return "", err
	}
	if named := withName(paths, "arbiter.sock"); len(paths) > 1 && len(named) == 1 {
		paths = named // the parent has ended or cannot be seen
	}
	switch len(paths) {
	case 0:
		return "", fmt.Errorf("%w: the process does not listen on a Unix socket", ErrUnavailable)
	case 1:
		return paths[0], nil
	}
	return "", fmt.Errorf("the process listens on %d Unix sockets, so it is no dirty arbiter: "+
		"use client.WithSocket", len(paths))
}

var errNotRunning = fmt.Errorf("%w: the process is not running", ErrUnavailable)

// checkProcess returns why a process cannot be the arbiter of a pid file.
func checkProcess(pid int) error {
	if pid == os.Getpid() {
		return fmt.Errorf("%w: the process is this one, so the file is stale", ErrUnavailable)
	}
	info, err := os.Stat(procPath(pid, ""))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errNotRunning
	case err != nil:
		return err
	case ownerOf(info) != os.Geteuid():
		return fmt.Errorf("the process belongs to another user (uid %d, this process has uid %d): "+
			"remove the file if it is stale, or use client.WithSocket: %w", ownerOf(info), os.Geteuid(), fs.ErrPermission)
	case processIsDead(pid):
		return errNotRunning
	}
	return nil
}

// socketInodes returns the inodes of the sockets that a process has open.
func socketInodes(ctx context.Context, pid int) (map[string]bool, error) {
	folder := procPath(pid, "fd")
	descriptors, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	inodes := map[string]bool{}
	for _, d := range descriptors {
		if ctx.Err() != nil {
			return nil, contextError(ctx)
		}
		target, err := os.Readlink(filepath.Join(folder, d.Name()))
		if err != nil {
			continue // it was closed meanwhile
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			inodes[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return inodes, nil
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

// listeningPaths returns the paths of those sockets of a process that listen.
func listeningPaths(ctx context.Context, pid int, inodes map[string]bool) ([]string, error) {
	table, err := os.Open(procPath(pid, "net/unix"))
	if err != nil {
		return nil, err
	}
	defer table.Close()
	sockets, err := readTable(ctx, table, inodes)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, s := range sockets {
		if !s.listens {
			continue
		}
		if !filepath.IsAbs(s.path) && !strings.HasPrefix(s.path, "@") {
			folder, err := os.Readlink(procPath(pid, "cwd"))
			if err != nil {
				return nil, err
			}
			s.path = folder + "/" + s.path
		}
		paths = append(paths, s.path)
	}
	return paths, nil
}

// socket is a row of /proc/net/unix.
type socket struct {
	inode   string
	listens bool
	path    string // may hold spaces; "@" and a name for an abstract socket; "" if it has none
}

// readTable returns the sockets with the inodes from /proc/net/unix. The kernel
// prints paths as they are, so anybody can write whole rows with a path that
// holds line breaks. A table that leaves a doubt about one of the inodes is
// refused: guessing would lead to whoever wrote the row.
func readTable(ctx context.Context, table io.Reader, inodes map[string]bool) (map[string]socket, error) {
	sockets := map[string]socket{}
	ours := false // the row before is one of the inodes
	for rows := bufio.NewReader(table); ; {
		row, err := rows.ReadSlice('\n')
		switch {
		case err == io.EOF:
			return sockets, nil
		case err != nil:
			return nil, fmt.Errorf("/proc/net/unix: %w", err)
		case ctx.Err() != nil:
			return nil, contextError(ctx)
		}
		s, ok := parseRow(strings.TrimSuffix(string(row), "\n"))
		if !ok && ours {
			return nil, errors.New("the path of the socket holds a line break: use client.WithSocket")
		}
		ours = ok && inodes[s.inode]
		if !ours {
			continue
		}
		if strings.ContainsFunc(s.path, isControl) {
			return nil, fmt.Errorf("the path of the socket holds control characters: %q: use client.WithSocket", s.path)
		}
		// The kernel may show a row again if others come while it is read.
		if before, again := sockets[s.inode]; again && before != s {
			return nil, fmt.Errorf("/proc/net/unix names one socket twice, as %q and as %q: "+
				"somebody has bound a socket whose path looks like a row of it: use client.WithSocket", before.path, s.path)
		}
		sockets[s.inode] = s
	}
}

// parseRow reads a row: Num RefCount Protocol Flags Type St Inode Path. Only the
// inode has spaces before it, and only the path may hold any.
func parseRow(row string) (s socket, ok bool) {
	fields := make([]string, 6)
	for i := range fields {
		if fields[i], row, ok = strings.Cut(row, " "); !ok || fields[i] == "" {
			return s, false
		}
	}
	s.inode, s.path, _ = strings.Cut(strings.TrimLeft(row, " "), " ")
	const stream, listening = "0001", "00010000"
	s.listens = fields[4] == stream && fields[3] == listening
	_, err := strconv.ParseUint(s.inode, 10, 64)
	return s, err == nil && strings.HasSuffix(fields[0], ":")
}

// isControl reports whether a character can change how a line is read or shown.
func isControl(r rune) bool { return r < ' ' || r == 0x7f }
