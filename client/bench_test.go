package client_test

import (
	"context"
	"encoding/binary"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/require"
)

// paired runs two ways of doing the same in turns, and reports the median time
// of each and of the ratios. The machine changes its speed; the turns change it
// for both.
func paired(b *testing.B, ours, floor func()) {
	b.Helper()
	var us, them []time.Duration
	var ratios []float64
	for b.Loop() {
		begin := time.Now()
		ours()
		between := time.Now()
		floor()
		end := time.Now()
		us, them = append(us, between.Sub(begin)), append(them, end.Sub(between))
		ratios = append(ratios, float64(us[len(us)-1])/float64(them[len(them)-1]))
	}
	b.ReportMetric(0, "ns/op") // of both together: means nothing
	b.ReportMetric(float64(median(us)), "ns/ours")
	b.ReportMetric(float64(median(them)), "ns/floor")
	b.ReportMetric(float64(median(us))/float64(median(them)), "ratio")
	b.ReportMetric(median(ratios), "paired-ratio")
}

func median[T ~int64 | float64](v []T) T {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkCall is a small call to a peer in this process, beside a bare loop that
// writes prepared bytes and reads the reply from the same peer:
//
//	go test -run '^$' -bench Call -benchtime 2s ./client
//
// The peer either decodes requests and encodes replies, or only copies the id.
func BenchmarkCall(b *testing.B) {
	for name, serve := range map[string]func(net.Conn){"codec": answering(echo), "bytes": replyBytes} {
		b.Run(name, func(b *testing.B) {
			p := newPeer(b, serve)
			c := newClient(b, client.WithSocket(p.path))
			floor := bareCall(b, p.path)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			paired(b, func() {
				if _, err := client.Call[[]int](ctx, c, "app:App", "echo", 1, 2); err != nil {
					b.Fatal(err)
				}
			}, floor)
		})
	}
}

// BenchmarkCallAllocs counts what a small call allocates on both sides of an
// exchange with a peer that allocates nothing.
func BenchmarkCallAllocs(b *testing.B) {
	p := newPeer(b, replyBytes)
	c := newClient(b, client.WithSocket(p.path))
	cancellable, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, ctx := range map[string]context.Context{"background": context.Background(), "cancellable": cancellable} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Call[[]int](ctx, c, "app:App", "echo", 1, 2); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTracedCall counts what a Tracer adds to a small call: each of its functions runs
// in a goroutine of its own.
func BenchmarkTracedCall(b *testing.B) {
	p := newPeer(b, replyBytes)
	c := newClient(b, client.WithSocket(p.path), client.WithTracer(client.Tracer{
		CallStart:    func(ctx context.Context, _ client.Operation) context.Context { return ctx },
		CallDone:     func(context.Context, client.Operation, client.CallResult) {},
		AcquireStart: func(context.Context, client.Operation) {},
		AcquireDone:  func(context.Context, client.Operation, client.AcquireResult) {},
	}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Call[[]int](context.Background(), c, "app:App", "echo", 1, 2); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStream is the time for each chunk of a long stream of small ones,
// beside reading the same frames without decoding them.
func BenchmarkStream(b *testing.B) {
	for _, size := range []int{10, 1000, 64 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			const chunks = 1000
			p := newPeer(b, answering(func(c *dirty.Conn, m dirty.Message) error {
				for range chunks {
					if err := c.WriteMessage(dirty.NewChunk(m.RequestID(), make([]byte, size))); err != nil {
						return err
					}
				}
				return c.WriteMessage(dirty.NewEnd(m.RequestID()))
			}))
			c := newClient(b, client.WithSocket(p.path))
			nc, err := net.Dial("unix", p.path)
			require.NoError(b, err)
			defer nc.Close()
			bare := dirty.NewConn(nc)
			var f dirty.Frame
			paired(b, func() {
				n := 0
				for _, err := range client.StreamOf[[]byte](context.Background(), c, "app:App", "stream") {
					require.NoError(b, err)
					n++
				}
				require.Equal(b, chunks, n)
			}, func() {
				require.NoError(b, bare.WriteMessage(dirty.NewRequest(1, "app:App", "stream", nil, nil)))
				for f.Type = 0; f.Type != dirty.TypeEnd; {
					f, err = bare.ReadFrameInto(f.Payload[:0])
					require.NoError(b, err)
				}
			})
		})
	}
}

// replyBytes answers each request with the same bytes, but for the id.
func replyBytes(nc net.Conn) {
	reply, err := dirty.AppendMessage(nil, dirty.NewResponse(0, []int{1, 2}))
	if err != nil {
		return
	}
	buf := make([]byte, 4096)
	for {
		if n, err := nc.Read(buf); err != nil || n < dirty.HeaderSize {
			return
		}
		copy(reply[8:16], buf[8:16])
		if _, err := nc.Write(reply); err != nil {
			return
		}
	}
}

// bareCall returns what makes the call of BenchmarkCall in a bare loop.
func bareCall(b *testing.B, path string) func() {
	b.Helper()
	request, err := dirty.AppendMessage(nil, dirty.NewRequest(1, "app:App", "echo", []any{1, 2}, nil))
	require.NoError(b, err)
	nc, err := net.Dial("unix", path)
	require.NoError(b, err)
	b.Cleanup(func() { nc.Close() })
	buf := make([]byte, 4096)
	return func() {
		if _, err := nc.Write(request); err != nil {
			b.Fatal(err)
		}
		n, err := nc.Read(buf)
		if err != nil || n != dirty.HeaderSize+int(binary.BigEndian.Uint32(buf[4:])) {
			b.Fatal(n, err)
		}
	}
}
