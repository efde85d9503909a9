package server_test

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// BenchmarkServer is how many small calls a second our client makes to a server,
// over a number of connections: our server, with a typed handler, and a bare loop
// that reads frames and answers each with the same bytes, but for the id. They run
// in turns; the figures are medians over the rounds.
//
//	go test -run '^$' -bench Server -benchtime 20x ./server
func BenchmarkServer(b *testing.B) {
	dir, err := os.MkdirTemp("", "d")
	require.NoError(b, err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) })

	ours := filepath.Join(dir, "ours")
	mux := server.NewMux()
	mux.Handle("app:App", "add", server.Func(func(_ context.Context, a struct{ A, B int }) (int, error) { return a.A + a.B, nil }))
	s := &server.Server{Handler: mux}
	l, err := server.Listen(ours, 0)
	require.NoError(b, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	b.Cleanup(func() {
		require.NoError(b, s.Close())
		require.ErrorIs(b, <-served, server.ErrServerClosed)
	})

	bare := filepath.Join(dir, "bare")
	listenBare(b, bare)

	for _, conns := range []int{1, 2, 4, 8, 16, 32, 64} {
		b.Run(strconv.Itoa(conns), func(b *testing.B) {
			toOurs, toBare := callers(b, ours, conns), callers(b, bare, conns)
			var rates, floors []float64
			for b.Loop() {
				floors = append(floors, toBare())
				rates = append(rates, toOurs())
			}
			slices.Sort(rates)
			slices.Sort(floors)
			rate, floor := rates[len(rates)/2], floors[len(floors)/2]
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(rate, "calls/s")
			b.ReportMetric(floor, "bare-calls/s")
			b.ReportMetric(rate/floor, "ours/bare")
		})
	}
}

// callers returns what makes some thousand calls over so many connections, and
// tells how many that is a second.
func callers(b *testing.B, path string, conns int) func() float64 {
	b.Helper()
	c, err := client.New(client.WithSocket(path), client.WithMaxConns(conns), client.WithMaxIdle(conns, time.Minute))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, c.Close()) })
	return func() float64 {
		const calls = 4096
		begin := time.Now()
		var group sync.WaitGroup
		for range conns {
			group.Go(func() {
				for range calls / conns {
					if sum, err := client.Call[int](context.Background(), c, "app:App", "add", 1, 2); err != nil || sum != 3 {
						b.Error(sum, err)
						return
					}
				}
			})
		}
		group.Wait()
		return calls / time.Since(begin).Seconds()
	}
}

// listenBare answers each frame with the same bytes, but for the id.
func listenBare(b *testing.B, path string) {
	b.Helper()
	reply, err := dirty.AppendMessage(nil, dirty.NewResponse(0, 3))
	require.NoError(b, err)
	l, err := net.Listen("unix", path)
	require.NoError(b, err)
	b.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				in, mine := dirty.NewReader(nc), slices.Clone(reply)
				var f dirty.Frame
				for {
					var err error
					if f, err = in.ReadFrameInto(f.Payload[:0]); err != nil {
						return
					}
					binary.BigEndian.PutUint64(mine[8:], f.RequestID)
					if _, err := nc.Write(mine); err != nil {
						return
					}
				}
			}()
		}
	}()
}

// BenchmarkFunc is one call of a typed handler with the arguments of a model:
// 1,024 features, some options, and texts. The rest of a call is the same in all:
// the bytes are written to a pipe, and the reply is small.
//
//	go test -run '^$' -bench Func -benchmem ./server
func BenchmarkFunc(b *testing.B) {
	type options struct {
		Temperature float64        `dirty:"temperature"`
		TopK        int            `dirty:"top_k"`
		Stop        []string       `dirty:"stop"`
		Labels      map[string]int `dirty:"labels"`
	}
	type args struct {
		Model    string    `dirty:"model"`
		Features []float64 `dirty:"features"`
		Options  options   `dirty:"options"`
	}
	features := make([]float64, 1024)
	for i := range features {
		features[i] = float64(i) / 7
	}
	request := message(dirty.NewRequest(1, app, "do", []any{"model-1"}, map[string]any{
		"features": features,
		"options": options{Temperature: 0.7, TopK: 40, Stop: []string{"a", "b", "c"},
			Labels: map[string]int{"cat": 1, "dog": 2, "cow": 3, "hen": 4}},
	}))
	typed := server.Func(func(_ context.Context, a args) (int, error) { return len(a.Features), nil })
	mux := server.NewMux()
	mux.Handle(app, "do", typed)
	behind := func(next server.Handler) server.Handler {
		return server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			return next.ServeDirty(ctx, w, r)
		})
	}
	for _, bench := range []struct {
		name string
		s    *server.Server
	}{
		{"direct", &server.Server{Handler: mux}},
		{"middleware", &server.Server{Handler: behind(mux)}},
		{"middleware and RawArgs", &server.Server{Handler: behind(mux), RawArgs: true}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			ours, theirs := net.Pipe()
			served := make(chan error, 1)
			go func() { served <- bench.s.ServeConn(ctx, theirs) }()
			var in dirty.FrameBuffer
			reader := dirty.NewReader(ours)
			b.ReportAllocs()
			for b.Loop() {
				_, err := ours.Write(request)
				require.NoError(b, err)
				f, err := reader.ReadFrameTo(&in)
				require.NoError(b, err)
				require.Equal(b, dirty.TypeResponse, f.Type)
			}
			require.NoError(b, ours.Close())
			require.NoError(b, <-served)
		})
	}
}
