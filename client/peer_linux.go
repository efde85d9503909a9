package client

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gunicorn-go/dirty"
)

// peerPID returns the id of the process that listens at the other end of a Unix
// socket (SO_PEERCRED): for an arbiter its own. It is 0 if that is not known, as
// for a process in another pid namespace.
func peerPID(c syscall.RawConn) int {
	pid := 0
	_ = c.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

// processIsGone reports whether there is no such process. It takes a zombie for
// a process, but costs a small part of what processIsDead does.
func processIsGone(pid int) bool {
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// processIsDead reports whether a process has ended. A zombie has: nobody has
// asked for its exit status yet, which some containers never do. What cannot be
// seen is taken to live.
func processIsDead(pid int) bool {
	if processIsGone(pid) {
		return true
	}
	s, err := readStat(pid)
	return err == nil && s.isDead()
}

// fileID tells which file one is. Its time is there because a new file may get
// the number of one that was removed.
type fileID struct {
	device, number uint64
	modified       syscall.Timespec
}

// findFile returns the fileID of a socket, zero if there is none.
func findFile(path string) fileID {
	var s syscall.Stat_t
	if err := syscall.Stat(path, &s); err != nil {
		return fileID{}
	}
	return fileID{uint64(s.Dev), s.Ino, s.Mtim} // 32 bits on MIPS
}

// lookTimeout bounds the dial of wasTakenOver, and answerTimeout the answer after it.
const (
	lookTimeout   = time.Second
	answerTimeout = 250 * time.Millisecond
)

// wasTakenOver reports whether another process serves the same socket. If that process
// has called listen, clients see it as their peer. If it has not, they still see the
// one that is dead; then it must answer. A worker that has merely inherited the socket
// of a dead arbiter does neither.
func (p peer) wasTakenOver() bool {
	if p.file == (fileID{}) || findFile(p.path) != p.file {
		return false
	}
	nc, err := net.DialTimeout("unix", p.path, lookTimeout)
	if err != nil {
		return false
	}
	defer nc.Close()
	raw, err := nc.(*net.UnixConn).SyscallConn()
	if err != nil {
		return false
	}
	pid := peerPID(raw)
	if pid != p.pid {
		return pid != 0 && !processIsDead(pid)
	}
	return nc.SetDeadline(time.Now().Add(answerTimeout)) == nil && answersStatus(nc)
}

// answersStatus reports whether a question for the status gets an answer.
func answersStatus(nc net.Conn) bool {
	question := dirty.NewStatusRequest(rand.Uint64())
	if err := dirty.WriteMessage(nc, question); err != nil {
		return false
	}
	header, err := dirty.NewReader(nc).NextHeader()
	return err == nil && header.RequestID == question.ID
}

// stat is a part of /proc/PID/stat.
type stat struct {
	state   string
	parent  int
	threads int
}

// isDead reports whether nothing of the process runs. A main thread that has
// ended before the others is a zombie too, but counts them.
func (s stat) isDead() bool {
	return (s.state == "Z" || s.state == "X") && s.threads <= 1
}

// procPath returns the path of a file about a process.
func procPath(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(text))
}

// parseStat reads the fields after the process's name. The name stands in
// parentheses and may hold spaces, line breaks and parentheses; the fields after
// it hold none.
func parseStat(text string) (s stat, err error) {
	const first, parent, threads = 3, 4, 20 // numbers of fields, as in proc_pid_stat(5)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) <= threads-first {
		return s, fmt.Errorf("/proc/PID/stat has %d fields after the name", len(fields))
	}
	s.state = fields[0]
	if s.parent, err = strconv.Atoi(fields[parent-first]); err != nil {
		return s, err
	}
	s.threads, err = strconv.Atoi(fields[threads-first])
	return s, err
}
