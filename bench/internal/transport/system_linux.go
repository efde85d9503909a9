package transport

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gunicorn-go/dirty/bench/internal/rounds"
)

// onOneCore calls do. Meanwhile this process and the children that it starts run
// on one core only.
func onOneCore(do func() error) error {
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	last := -1
	for seen, i := 0, 0; seen < before.Count(); i++ {
		if before.IsSet(i) {
			seen, last = seen+1, i
		}
	}
	one.Set(last)
	if err := pinAll(&one); err != nil {
		return err
	}
	defer func() { _ = pinAll(&before) }()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	return do()
}

// pinAll pins all threads of this process, also those that start meanwhile. Later
// threads inherit it, and so do children.
func pinAll(set *unix.CPUSet) error {
	pinned := map[string]bool{}
	for again := true; again; {
		again = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range threads {
			if pinned[t.Name()] {
				continue
			}
			pinned[t.Name()], again = true, true
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(id, set); err != nil && err != unix.ESRCH {
				return err
			}
		}
	}
	return nil
}

// countCalls returns how many system calls for reading and for writing a process
// has made.
func countCalls(pid int) (systemCalls, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return systemCalls{}, err
	}
	defer file.Close()
	var c systemCalls
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), ": ")
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return systemCalls{}, err
		}
		switch name {
		case "syscr":
			c.reads = n
		case "syscw":
			c.writes = n
		}
	}
	return c, lines.Err()
}

// sendBuffer returns the size of a connection's send buffer, as the kernel has it.
func sendBuffer(c *net.UnixConn) (size int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
	})
	if controlErr != nil {
		err = controlErr
	}
	return size, err
}

// cpuOf returns the clock of a process: the time that processors have worked for
// all its threads. It stands still once the process has ended.
func cpuOf(pid int) (rounds.Clock, error) {
	const allThreads = 2 // CPUCLOCK_SCHED of the kernel, which is in no header
	id := int32(^pid<<3 | allThreads)
	var last time.Duration
	return func() time.Duration {
		var now unix.Timespec
		if unix.ClockGettime(id, &now) == nil {
			last = time.Duration(now.Nano())
		}
		return last
	}, unix.ClockGettime(id, new(unix.Timespec))
}

// endWithParent has the kernel end a process that does not watch its parent.
func endWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
