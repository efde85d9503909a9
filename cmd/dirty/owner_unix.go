//go:build unix

package main

import (
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// ownerName returns the name of a file's owner, or the number if it has none.
func ownerName(info fs.FileInfo) string {
	id, ok := ownerID(info)
	if !ok {
		return ""
	}
	number := strconv.Itoa(id)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return "user " + number
}

func ownerID(info fs.FileInfo) (int, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// trustedPlace reports whether a path is a socket of this user, in a folder in which
// nobody but this user and root can put one.
func trustedPlace(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	if id, ok := ownerID(info); !ok || id != os.Geteuid() {
		return false
	}
	folder, err := os.Lstat(filepath.Dir(path))
	if err != nil || !folder.IsDir() {
		return false
	}
	id, ok := ownerID(folder)
	return ok && (id == os.Geteuid() || id == 0) && folder.Mode().Perm()&0o022 == 0
}
