package client

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// maxPIDFile is the longest pid file in bytes. gunicorn reads as much of it.
const maxPIDFile = 32

// readPIDFile returns the process id in a pid file that can be trusted. Opening
// neither follows a link nor waits for the other end of a pipe.
func readPIDFile(name string) (pid int, err error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%w: there is no pid file: %w", ErrUnavailable, err)
	}
	if err != nil {
		if info, statErr := os.Lstat(name); statErr == nil {
			err = explainOpen(name, info, err)
		}
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if err := checkPIDFile(name, info); err != nil {
		return 0, err
	}
	text := make([]byte, maxPIDFile+1)
	n, err := io.ReadFull(f, text)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return 0, err
	}
	number, err := strconv.ParseInt(strings.TrimSpace(string(text[:n])), 10, 32)
	if err != nil || number <= 0 || n > maxPIDFile {
		return 0, fmt.Errorf("%w: %s holds no process id", ErrUnavailable, describeFile(name, info))
	}
	return int(number), nil
}

// checkPIDFile returns why a file cannot be trusted.
func checkPIDFile(name string, info fs.FileInfo) error {
	owner, us := ownerOf(info), os.Geteuid()
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file, as gunicorn writes it: "+
			"remove it and restart gunicorn, or use client.WithSocket", describeFile(name, info))
	case owner != us:
		return fmt.Errorf("%s belongs to another user than this process (uid %d): "+
			"run both as one user, or use client.WithSocket", describeFile(name, info), us)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s can be written by other users: "+
			"take that away (chmod go-w) and give gunicorn a umask of 022, or use client.WithSocket", describeFile(name, info))
	}
	return nil
}

// explainOpen returns why a file could not be opened. What is wrong with the
// file says more than the error of the system does.
func explainOpen(name string, info fs.FileInfo, err error) error {
	if wrong := checkPIDFile(name, info); wrong != nil {
		return fmt.Errorf("%w (%w)", wrong, err)
	}
	return fmt.Errorf("%s: %w", describeFile(name, info), err)
}

// describeFile names a pid file with what a reader needs to mend it.
func describeFile(name string, info fs.FileInfo) string {
	return fmt.Sprintf("the pid file %q (uid %d, mode %v)", name, ownerOf(info), info.Mode())
}

// ownerOf returns the id of the user that a file belongs to.
func ownerOf(info fs.FileInfo) int {
	return int(info.Sys().(*syscall.Stat_t).Uid)
}
