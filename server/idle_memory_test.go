package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/internal/idlememory"
	"github.com/gunicorn-go/dirty/server"
)

// idleSizes are how large the arguments and the results of the calls are that a
// connection has carried before it was idle; 0: there were none.
var idleSizes = []int{0, 100, 1600, 20_000, 60_000}

// TestIdleMemory: an idle connection takes little memory, whatever it has carried.
func TestIdleMemory(t *testing.T) { idlememory.Test(t, idleSizes, measureIdle) }

// BenchmarkIdleMemory is the memory of an idle connection in the server, in the heap
// and in stacks. The clients are in another process.
//
//	go test -run '^$' -bench IdleMemory -benchtime 1x ./server
func BenchmarkIdleMemory(b *testing.B) { idlememory.Benchmark(b, idleSizes, measureIdle) }

// measureIdle returns how many bytes a connection takes that is idle after calls.
func measureIdle(tb testing.TB, conns, size int) float64 {
	s := &server.Server{MaxConns: -1, Handler: server.HandlerFunc(echo)}
	path := start(tb, s)
	before := idlememory.Used()
	child := childCommand("crowd", "CROWD_PATH="+path, "CROWD_CONNS="+strconv.Itoa(conns), "CROWD_SIZE="+strconv.Itoa(size))
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	require.NoError(tb, err)
	out, err := child.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, child.Start())
	defer func() {
		assert.NoError(tb, in.Close())
		assert.NoError(tb, child.Wait())
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(tb, err)
	require.Equal(tb, "idle\n", line)
	eventually(tb, "all are accepted", func() bool { return s.Stats().Conns == conns })
	return float64(idlememory.Used()-before) / float64(conns)
}

func init() { children["crowd"] = keepCrowd }

// keepCrowd makes calls on each of many connections, and keeps them open until its
// standard input ends.
func keepCrowd() error {
	path := os.Getenv("CROWD_PATH")
	conns, err := strconv.Atoi(os.Getenv("CROWD_CONNS"))
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(os.Getenv("CROWD_SIZE"))
	if err != nil {
		return err
	}
	for range conns {
		nc, err := net.Dial("unix", path)
		for ; errors.Is(err, syscall.EAGAIN); nc, err = net.Dial("unix", path) {
			time.Sleep(time.Millisecond) // the backlog is full
		}
		if err != nil {
			return err
		}
		defer nc.Close()
		c := dirty.NewConn(nc)
		for i := 0; i < idlememory.Calls && size > 0; i++ {
			if err := c.WriteMessage(dirty.NewRequest(1, app, "echo", []any{make([]byte, size)}, nil)); err != nil {
				return err
			}
			if _, err := c.ReadMessage(); err != nil {
				return err
			}
		}
	}
	fmt.Println("idle")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
