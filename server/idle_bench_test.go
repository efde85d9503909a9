package server_test

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// BenchmarkIdle is the memory of 5,000 connections that are idle after a call with
// an argument and a reply of a size, in the heap and in stacks. Both ends are in this
// process: the figure is for client and server together.
//
//	go test -run '^$' -bench Idle -benchtime 1x ./server
func BenchmarkIdle(b *testing.B) {
	const conns = 5_000 // which are 10,000 descriptors
	for _, size := range []int{100, 20_000, 60_000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			for b.Loop() {
				arrived, leave := make(chan struct{}, conns), make(chan struct{})
				s := &server.Server{MaxConns: -1, Handler: server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
					arrived <- struct{}{}
					<-leave // until all have come, so that each call has a connection
					return w.Respond(r.Args[0])
				})}
				path := start(b, s)
				before := usedMemory()
				c, err := client.New(client.WithSocket(path), client.WithMaxConns(conns), client.WithMaxIdle(conns, time.Hour), client.WithTimeout(0))
				require.NoError(b, err)
				arg := make([]byte, size)
				var group sync.WaitGroup
				for range conns {
					group.Go(func() {
						_, err := c.Execute(ctx, app, "do", arg)
						require.NoError(b, err)
					})
				}
				for range conns {
					<-arrived
				}
				close(leave)
				group.Wait()
				require.Equal(b, conns, c.Stats().Idle)
				b.ReportMetric(float64(usedMemory()-before)/conns, "B/conn")
				require.NoError(b, c.Close())
				require.NoError(b, s.Close())
			}
		})
	}
}

// usedMemory returns the bytes of the heap and of stacks that are in use.
func usedMemory() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
