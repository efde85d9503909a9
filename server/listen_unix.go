//go:build unix

package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// maxPath is how long the path of a socket may be in bytes; one is for the NUL.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// keepGroup leaves the group of a file as it is, for chown.
const keepGroup = -1

// groupID returns the number of a group that is given by name or number, or
// keepGroup for none.
func groupID(group string) (int, error) {
	if group == "" {
		return keepGroup, nil
	}
	number := group
	if g, err := user.LookupGroup(group); err == nil {
		number = g.Gid
	} else if !errors.As(err, new(user.UnknownGroupError)) {
		return 0, err
	}
	const max = 1<<32 - 2 // the next number means none
	gid, err := strconv.ParseUint(number, 10, 32)
	if err != nil || gid > max {
		return 0, fmt.Errorf("Server.Group: there is no group %q", group)
	}
	return int(gid), nil
}

// bind makes the socket in a private folder, where nobody else can put a link,
// gives it its mode and group, and moves it to its place.
func (f *socketFile) bind(mode fs.FileMode, gid int) (err error) {
	private, err := newPrivateFolder(f.folder)
	if err != nil {
		return err
	}
	defer private.remove()
	path, name := private.socketPath(f.name)
	if len(path) > maxPath {
		return fmt.Errorf("the path has %d bytes and must leave room for a folder beside it: at most %d are possible here",
			len(f.path), len(f.path)-(len(path)-maxPath))
	}
	l, err := net.ListenUnix(f.network, &net.UnixAddr{Name: path, Net: f.network})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	if err = f.putInPlace(private, name, mode, gid); err != nil {
		_ = l.Close()
		_ = private.root.Remove(name)
		return err
	}
	f.l = l
	return nil
}

// putInPlace gives the socket its mode, its group and its name.
func (f *socketFile) putInPlace(private *privateFolder, name string, mode fs.FileMode, gid int) (err error) {
	if gid != keepGroup {
		if err := private.root.Lchown(name, -1, gid); err != nil {
			return fmt.Errorf("cannot give the socket to Server.Group %d: only root can, and a member of the group: %w", gid, err)
		}
	}
	if err := private.root.Chmod(name, mode); err != nil {
		return err
	}
	if f.info, err = private.root.Lstat(name); err != nil {
		return err
	}
	if err := f.folder.Rename(filepath.Join(private.name, name), f.name); err != nil {
		return err
	}
	placed, err := f.folder.Lstat(f.name)
	if err != nil || !os.SameFile(placed, f.info) {
		return errors.Join(errFolderChanged, err)
	}
	return nil
}

// privateFolder is a folder in which only this user can do anything.
type privateFolder struct {
	parent *os.Root
	name   string   // in the parent
	root   *os.Root // stays the same folder if somebody moves it
	dir    *os.File // the same
}

// privateTries bounds how many names are tried for a private folder.
const privateTries = 100

func newPrivateFolder(parent *os.Root) (p *privateFolder, err error) {
	p = &privateFolder{parent: parent}
	for range privateTries {
		p.name = "." + rand.Text()[:6]
		if err = parent.Mkdir(p.name, 0o700); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if p.root, err = parent.OpenRoot(p.name); err == nil {
		if p.dir, err = p.root.Open("."); err == nil {
			err = p.check()
		}
	} else if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("the umask must leave the owner all permissions: %w", err)
	}
	if err != nil {
		p.remove()
		return nil, err
	}
	return p, nil
}

// check makes sure that the folder is the one that was made, and has its mode,
// of which the umask may have taken a part.
func (p *privateFolder) check() error {
	opened, err := p.dir.Stat()
	if err != nil {
		return err
	}
	made, err := p.parent.Lstat(p.name)
	if err != nil || !os.SameFile(made, opened) || int(opened.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		return errors.Join(errFolderChanged, err)
	}
	if opened.Mode().Perm() != 0o700 {
		return p.dir.Chmod(opened.Mode()&^fs.ModePerm | 0o700)
	}
	return nil
}

// remove removes the folder, which is empty by now.
func (p *privateFolder) remove() {
	if p.dir != nil {
		_ = p.dir.Close()
	}
	if p.root != nil {
		_ = p.root.Close()
	}
	_ = p.parent.Remove(p.name)
}

// socketPath returns a path to bind a socket at in this folder, and its name
// there: that of its place, which tools show, or less of it if that is too long.
func (p *privateFolder) socketPath(name string) (path, short string) {
	folder, ok := descriptorPath(p.dir)
	if !ok {
		folder = filepath.Join(p.parent.Name(), p.name) // without the "/." at the end of Name
	}
	room := max(maxPath-len(folder)-len("/"), 1)
	short = name[:min(len(name), room)]
	return folder + "/" + short, short
}
