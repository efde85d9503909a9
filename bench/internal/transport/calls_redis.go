package transport

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// openRedis has redis-server echo the text.
func openRedis(p *peers, conns int) (func(int, string) error, *peer, error) {
	far, err := p.startRedis()
	if err != nil {
		return nil, nil, err
	}
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: far.path, PoolSize: conns})
	p.closers = append(p.closers, c)
	return func(_ int, text string) error {
		reply, err := c.Echo(context.Background(), text).Result()
		if err == nil && reply != text {
			err = errOtherText
		}
		return err
	}, far, nil
}

// startRedis starts a redis-server that keeps nothing, and waits until it listens.
func (p *peers) startRedis() (*peer, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMissing, err)
	}
	c := &peer{path: filepath.Join(p.folder, "redis.sock")}
	c.cmd = exec.Command(program, "--port", "0", "--unixsocket", c.path, "--save", "", "--appendonly", "no", "--loglevel", "warning")
	c.cmd.Dir, c.cmd.Stderr = p.folder, os.Stderr
	endWithParent(c.cmd)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.end = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	p.all = append(p.all, c)
	return c, awaitSocket(c.path)
}

// awaitSocket returns when somebody listens on a socket.
func awaitSocket(path string) error {
	for end := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", path)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			return err
		}
	}
}

// startTimeout is how long a server that is not ours may take to start.
const startTimeout = 10 * time.Second
