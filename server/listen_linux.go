package server

import (
	"net"
	"os"
	"strconv"
	"syscall"
)

// descriptorPath returns a path that leads to an open file or folder, whatever
// became of its name. ok is false if /proc is not there.
func descriptorPath(f *os.File) (path string, ok bool) {
	path = "/proc/self/fd/" + strconv.FormatUint(uint64(f.Fd()), 10)
	_, err := os.Lstat(path)
	return path, err == nil
}

// openPath opens a name itself, not what it names: not for reading, but to refer
// to it (O_PATH). Package syscall has no name for it.
const openPath = 0x200000

// probe connects to the socket in the place. It follows no link: one that took
// the place just now refuses the connection.
func (f *socketFile) probe() (net.Conn, error) {
	path := f.path
	file, err := f.folder.OpenFile(f.name, openPath|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if found, ok := descriptorPath(file); ok {
		path = found
	}
	return net.DialTimeout(f.network, path, probeTimeout)
}
