package client_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/internal/idlememory"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// idleSizes are how large the arguments and the results of the calls are that a
// connection has carried before it was idle.
var idleSizes = []int{100, 1600, 20_000, 60_000}

// TestIdleMemory: an idle connection takes little memory, whatever it has carried.
func TestIdleMemory(t *testing.T) { idlememory.Test(t, idleSizes, measureIdle) }

// BenchmarkIdleMemory is the memory of an idle connection in the client, in the heap
// and in stacks. The peer is in another process.
//
//	go test -run '^$' -bench IdleMemory -benchtime 1x ./client
func BenchmarkIdleMemory(b *testing.B) { idlememory.Benchmark(b, idleSizes, measureIdle) }

// measureIdle returns how many bytes a connection takes that is idle after calls.
func measureIdle(tb testing.TB, conns, size int) float64 {
	path := filepath.Join(shortTempDir(tb), "s")
	helper := helperCommand("crowd", "PATH", path, "CONNS", strconv.Itoa(conns))
	helper.Stderr = os.Stderr
	in, err := helper.StdinPipe()
	require.NoError(tb, err)
	out, err := helper.StdoutPipe()
	require.NoError(tb, err)
	require.NoError(tb, helper.Start())
	defer func() {
		assert.NoError(tb, in.Close())
		assert.NoError(tb, helper.Wait())
	}()
	_, err = out.Read(make([]byte, 100)) // it listens
	require.NoError(tb, err)
	c := newClient(tb, client.WithSocket(path), client.WithMaxConns(conns), client.WithMaxIdle(conns, time.Hour),
		client.WithTimeout(0))
	before := idlememory.Used()
	arg := make([]byte, size)
	for range idlememory.Calls {
		var group sync.WaitGroup
		for range conns {
			group.Go(func() {
				_, err := c.Execute(context.Background(), app, "echo", arg)
				assert.NoError(tb, err)
			})
		}
		group.Wait()
		require.Equal(tb, conns, c.Stats().Idle)
	}
	return float64(idlememory.Used()-before) / float64(conns)
}

func init() { helpers["crowd"] = answerCrowd }

// answerCrowd answers a request on each of many connections, when all have come. So
// none of them can be used twice. It does so again, and ends with its standard input.
func answerCrowd() error {
	l, err := net.Listen("unix", os.Getenv(helperVariable+"_PATH"))
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(os.Getenv(helperVariable + "_CONNS"))
	if err != nil {
		return err
	}
	_, _ = os.Stdout.WriteString("listening\n")
	var conns []*dirty.Conn
	requests := make([]*dirty.Request, n)
	for call := range idlememory.Calls {
		for i := range n {
			if call == 0 {
				nc, err := l.Accept()
				if err != nil {
					return err
				}
				conns = append(conns, dirty.NewConn(nc))
			}
			m, err := conns[i].ReadMessage()
			if err != nil {
				return err
			}
			requests[i] = m.(*dirty.Request)
		}
		for i, r := range requests {
			if err := conns[i].WriteMessage(dirty.NewResponse(r.ID, r.Args[0])); err != nil {
				return err
			}
		}
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
