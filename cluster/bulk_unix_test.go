//go:build unix

package cluster_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/require"
)

// TestBulkFigures compares the ways to a server with large payloads, in turn in one run:
// the time on the wall, and the CPU time of the whole process. "bare" are the same ways
// without this module: bytes are copied from socket to socket, with the same TLS.
func TestBulkFigures(t *testing.T) {
	if !*figuresFlag {
		t.Skip("only for figures: go test -run BulkFigures -v ./cluster -cluster.figures")
	}
	ctx := context.Background()
	ways := startWays(t)
	bare := startBare(t)
	for _, test := range []struct {
		name   string
		rounds int
		call   func(c *client.Client)
		up     int // bytes of the same, without this module
		down   int
	}{
		{"echo of 16 MiB", 20, func(c *client.Client) {
			_, err := client.Call[[]any](ctx, c, app, "echo", large)
			require.NoError(t, err)
		}, len(large), len(large)},
		{"stream of 64 KiB", 20, func(c *client.Client) { readBlocks(t, c, 64<<10, 500) }, 0, 500 * 64 << 10},
		{"stream of 16 B", 20, func(c *client.Client) { readBlocks(t, c, 16, 5000) }, 0, 5000 * 16},
	} {
		figures := map[string]*figure{}
		for range test.rounds {
			for _, w := range ways {
				measure(figures, w.name, func() { test.call(w.client) })
			}
			for name, nc := range bare {
				measure(figures, name, func() { exchangeBare(t, nc, test.up, test.down) })
			}
		}
		for _, name := range []string{"own", "front", "socket", "bare own", "bare socket"} {
			if f := figures[name]; f != nil {
				slices.Sort(f.wall)
				slices.Sort(f.cpu)
				t.Logf("%-16s %-12s wall least %6.1f ms, p50 %6.1f ms; CPU least %6.1f ms, p50 %6.1f ms", test.name, name,
					milliseconds(f.wall[0]), milliseconds(f.wall[len(f.wall)/2]), milliseconds(f.cpu[0]), milliseconds(f.cpu[len(f.cpu)/2]))
			}
		}
	}
}

// figure is what the rounds took.
type figure struct{ wall, cpu []time.Duration }

// measure measures a round.
func measure(figures map[string]*figure, name string, f func()) {
	if figures[name] == nil {
		figures[name] = new(figure)
	}
	begin, used := time.Now(), cpuTime()
	f()
	figures[name].wall = append(figures[name].wall, time.Since(begin))
	figures[name].cpu = append(figures[name].cpu, cpuTime()-used)
}

// cpuTime returns the CPU time that this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails only for bad arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// startBare starts a peer of exchangeBare at a socket. Another way to it is as that through
// a front and an agent: from a socket to TLS, and from that to a socket.
func startBare(t *testing.T) map[string]net.Conn {
	ca := newAuthority(t)
	dir := folder(t)
	own, front := filepath.Join(dir, "own"), filepath.Join(dir, "front")
	accept(t, "unix", own, func(nc net.Conn) {
		b := make([]byte, len(large))
		for {
			var sizes [2]uint64
			if binary.Read(nc, binary.BigEndian, &sizes) != nil {
				return
			}
			if _, err := io.ReadFull(nc, b[:sizes[0]]); err != nil {
				return
			}
			for left := int(sizes[1]); left > 0; left -= bareBlock {
				if _, err := nc.Write(b[:min(left, bareBlock)]); err != nil {
					return
				}
			}
		}
	})
	agent := accept(t, "tcp", "127.0.0.1:0", func(nc net.Conn) {
		passBoth(t, tls.Server(nc, &tls.Config{Certificates: pair(t, ca.agent("a"))}), "unix", own, nil)
	})
	accept(t, "unix", front, func(nc net.Conn) {
		passBoth(t, nc, "tcp", agent, func(far net.Conn) net.Conn {
			return tls.Client(far, &tls.Config{InsecureSkipVerify: true})
		})
	})
	return map[string]net.Conn{"bare own": dialBare(t, own), "bare socket": dialBare(t, front)}
}

// bareBlock is how many bytes are written, or copied, at one time.
const bareBlock = 64 << 10

// exchangeBare writes some bytes and then reads some.
func exchangeBare(t *testing.T, nc net.Conn, up, down int) {
	require.NoError(t, binary.Write(nc, binary.BigEndian, [2]uint64{uint64(up), uint64(down)}))
	_, err := nc.Write(large[:up])
	require.NoError(t, err)
	b := make([]byte, up) // as the answer of a call, it is new memory
	if up == 0 {
		b = make([]byte, bareBlock)
	}
	for left := down; left > 0; left -= len(b) {
		_, err = io.ReadFull(nc, b[:min(left, len(b))])
		require.NoError(t, err)
	}
}

// passBoth passes bytes on, both ways.
func passBoth(t *testing.T, near net.Conn, network, addr string, wrap func(net.Conn) net.Conn) {
	far, err := net.Dial(network, addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer far.Close()
	if wrap != nil {
		far = wrap(far)
	}
	go copyPieces(near, far)
	copyPieces(far, near)
}

// copyPieces copies until one end closes.
func copyPieces(to io.Writer, from io.Reader) {
	b := make([]byte, bareBlock)
	for {
		n, err := from.Read(b)
		if err == nil {
			_, err = to.Write(b[:n])
		}
		if err != nil {
			return
		}
	}
}

// dialBare connects until the test ends.
func dialBare(t *testing.T, path string) net.Conn {
	nc, err := net.Dial("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}
