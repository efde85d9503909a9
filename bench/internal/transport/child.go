package transport

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/gunicorn-go/dirty/bench/internal/rounds"
)

// childVar is the environment variable that holds the job of a child.
const childVar = "DIRTY_BENCH_CHILD"

// job is what a child does on every connection.
type job struct {
	Serve      string // the name of a service
	Size       int    // of a frame
	SendBuffer int    // SO_SNDBUF; 0: as it is
}

// services are what a child can do with its listener.
var services = map[string]func(job, net.Listener) error{}

// MaybeChild serves, and does not return, in a process that was started as the
// far end of a measurement. In any other it does nothing. Call it first in main.
func MaybeChild() {
	text := os.Getenv(childVar)
	if text == "" {
		return
	}
	if err := beChild(text); err != nil {
		fmt.Fprintln(os.Stderr, "bench: child:", text, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// beChild serves until the parent closes our standard input, or dies.
func beChild(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	serve := services[j.Serve]
	if serve == nil {
		return errors.New("no such service")
	}
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- serve(j, l) }()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	select {
	case err = <-failed:
	case err = <-ended:
	}
	return err
}

// onEach makes a service from what it does on one connection.
func onEach(serve func(job, *net.UnixConn) error) func(job, net.Listener) error {
	return func(j job, l net.Listener) error {
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			go func() {
				defer c.Close()
				err := j.configure(c.(*net.UnixConn))
				if err == nil {
					err = serve(j, c.(*net.UnixConn))
				}
				if err != nil && !isEnd(err) {
					fmt.Fprintln(os.Stderr, "bench: child:", j, err)
				}
			}()
		}
	}
}

// isEnd reports whether the other side has closed the connection.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, errReset) }

// configure sets the options of a connection, on both sides.
func (j job) configure(c *net.UnixConn) error {
	if j.SendBuffer == 0 {
		return nil
	}
	return c.SetWriteBuffer(j.SendBuffer)
}

// peer is a child, as the parent sees it.
type peer struct {
	job  job
	path string // of its socket
	cmd  *exec.Cmd
	end  func() error // asks it to end
}

// peers has all that must be closed after a measurement.
type peers struct {
	folder  string
	all     []*peer
	closers []io.Closer
}

// withPeers calls do, and then ends all that do has started.
func withPeers(do func(*peers) error) (err error) {
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	p := &peers{folder: folder}
	defer func() { err = errors.Join(err, p.close()) }()
	return do(p)
}

// start starts a child. It gives the child a listener, so that one can dial at
// once.
func (p *peers) start(j job) (*peer, error) {
	c := &peer{job: j, path: filepath.Join(p.folder, fmt.Sprint(len(p.all)))}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	file, err := l.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c.cmd = exec.Command(self)
	c.cmd.Env = append(os.Environ(), childVar+"="+string(text))
	c.cmd.ExtraFiles = []*os.File{file}
	c.cmd.Stdout, c.cmd.Stderr = os.Stderr, os.Stderr
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	c.end = stdin.Close
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	p.all = append(p.all, c)
	return c, nil
}

// dial connects to a child.
func (p *peers) dial(c *peer) (*net.UnixConn, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: c.path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, conn)
	return conn, c.job.configure(conn)
}

// endTimeout is how long a child may take to end.
const endTimeout = 10 * time.Second

// close ends the children and waits for them.
func (p *peers) close() error {
	var errs []error
	for _, c := range p.closers {
		errs = append(errs, c.Close())
	}
	for _, c := range p.all {
		errs = append(errs, c.end())
	}
	for _, c := range p.all {
		kill := time.AfterFunc(endTimeout, func() { _ = c.cmd.Process.Kill() })
		if err := c.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("child %+v: %w", c.job, err))
		}
		kill.Stop()
	}
	return errors.Join(append(errs, os.RemoveAll(p.folder))...)
}

// lastConn returns the connection that was dialled last.
func (p *peers) lastConn() *net.UnixConn {
	for _, c := range slices.Backward(p.closers) {
		if conn, ok := c.(*net.UnixConn); ok {
			return conn
		}
	}
	return nil
}

// callsOf returns how many system calls an operation of run takes, in this
// process and in the child.
func (c *peer) callsOf(run func(n int) error, n int) (near, far systemCalls, err error) {
	if err := run(n/10 + 1); err != nil { // buffers grow
		return near, far, err
	}
	count := func() (systemCalls, systemCalls, error) {
		near, err := countCalls(os.Getpid())
		far, farErr := countCalls(c.cmd.Process.Pid)
		return near, far, errors.Join(err, farErr)
	}
	near0, far0, err := count()
	if err != nil {
		return near, far, err
	}
	if err := run(n); err != nil {
		return near, far, err
	}
	near, far, err = count()
	return near.since(near0, n), far.since(far0, n), err
}

// cpuOfBoth returns a clock: the time that processors have worked for this process
// and for the child.
func (c *peer) cpuOfBoth() (rounds.Clock, error) {
	far, err := cpuOf(c.cmd.Process.Pid)
	return func() time.Duration { return rounds.CPU() + far() }, err
}
