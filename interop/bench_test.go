//go:build unix

package interop

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	goserver "github.com/gunicorn-go/dirty/server"
)

// BenchmarkClient compares our client with gunicorn's own, and with the floor: a
// bare loop that writes prepared bytes and reads what comes. They call the same
// gunicorn of the newest release, in turns:
//
//	DIRTY_INTEROP=require go test -run '^$' -bench Client -benchtime 20x ./interop
//
// Each iteration is a round of some thousands of calls or chunks for each of the
// three. It reports medians over the rounds, in nanoseconds a call or chunk.
//
// There is a pause before each call, which is not counted, and some work on each
// chunk, which is. The reason is that an arbiter still works for a while after it has
// answered. A call that comes at once has to wait for that, and a reader that is
// faster than the arbiter has to be woken up for each chunk. Without pause and work
// ("burst" and "eager") the slowest caller would therefore meet the fastest arbiter.
func BenchmarkClient(b *testing.B) {
	p := pythons[len(pythons)-1]
	g := server(b, p)
	c := g.client(b)
	python := startPython(b, p, g.address())
	for _, bench := range []struct {
		what  string
		count int
		ours  func(b *testing.B, c *client.Client, n int) float64
		floor func(b *testing.B, conn net.Conn, n int) float64
	}{
		{"call", 2000, ourCalls, bareCalls},
		{"burst", 2000, ourBurst, bareBurst},
		{"stream", 10000, ourStream, bareStream},
		{"eager", 10000, ourEager, bareEager},
	} {
		b.Run(bench.what, func(b *testing.B) {
			conn, err := net.Dial("unix", g.address())
			require.NoError(b, err)
			defer conn.Close()
			var ours, floor, theirs []float64
			for b.Loop() {
				floor = append(floor, bench.floor(b, conn, bench.count))
				ours = append(ours, bench.ours(b, c, bench.count))
				theirs = append(theirs, python.run(b, bench.what, bench.count))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ours), "ns/ours")
			b.ReportMetric(median(floor), "ns/floor")
			b.ReportMetric(median(theirs), "ns/python")
			b.ReportMetric(median(ours)/median(floor), "ours/floor")
			b.ReportMetric(median(ours)/median(theirs), "ours/python")
		})
	}
}

// BenchmarkServer measures how many calls a second gunicorn's own client makes to
// our server and, in turns, to a real arbiter. That has as many workers as there are
// processes that call:
//
//	DIRTY_INTEROP=require go test -run '^$' -bench Server -benchtime 10x ./interop
func BenchmarkServer(b *testing.B) {
	const processes, calls = 2, 2000
	p := pythons[len(pythons)-1]
	real := fresh(b, p, options{Workers: processes})
	until(b, "all workers have booted", func() bool {
		status, err := real.client(b).Status(b.Context())
		return err == nil && status.Serving(app) == processes
	})
	mux := goserver.NewMux()
	mux.Handle(app, "identity", goserver.Func(func(_ context.Context, v any) (any, error) { return v, nil }))
	ours := filepath.Join(shortFolder(b), "arbiter.sock")
	serveAt(b, ours, mux)

	callers := func(path string) []*pythonBench {
		started := make([]*pythonBench, processes)
		for i := range started {
			started[i] = startPython(b, p, path)
		}
		return started
	}
	toOurs, toReal := callers(ours), callers(real.address())
	rate := func(callers []*pythonBench) float64 {
		begin := time.Now()
		var group sync.WaitGroup
		for _, c := range callers {
			group.Go(func() { c.run(b, "burst", calls) })
		}
		group.Wait()
		return processes * calls / time.Since(begin).Seconds()
	}
	var us, them []float64
	for b.Loop() {
		them = append(them, rate(toReal))
		us = append(us, rate(toOurs))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(us), "calls/s")
	b.ReportMetric(median(them), "arbiter-calls/s")
	b.ReportMetric(median(us)/median(them), "ours/arbiter")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// The pause before each call, and the work on each chunk, as in bench.py.
const (
	pauseBefore = 200 * time.Microsecond
	workOnChunk = 50 * time.Microsecond
)

// spin keeps a core busy for a while. A sleep would not be precise enough.
func spin(d time.Duration) {
	for begin := time.Now(); time.Since(begin) < d; {
		continue
	}
}

// medianCall times n calls.
func medianCall(n int, pause time.Duration, call func()) float64 {
	times := make([]float64, n)
	for i := range times {
		spin(pause)
		begin := time.Now()
		call()
		times[i] = float64(time.Since(begin))
	}
	return median(times)
}

func ourCalls(b *testing.B, c *client.Client, n int) float64 { return timeOurs(b, c, n, pauseBefore) }

func ourBurst(b *testing.B, c *client.Client, n int) float64 { return timeOurs(b, c, n, 0) }

func timeOurs(b *testing.B, c *client.Client, n int, pause time.Duration) float64 {
	return medianCall(n, pause, func() {
		v, err := client.Call[int](context.Background(), c, app, "identity", 1)
		if err != nil || v != 1 {
			b.Fatal(v, err)
		}
	})
}

func ourStream(b *testing.B, c *client.Client, n int) float64 { return rangeOurs(b, c, n, workOnChunk) }

func ourEager(b *testing.B, c *client.Client, n int) float64 { return rangeOurs(b, c, n, 0) }

func rangeOurs(b *testing.B, c *client.Client, n int, work time.Duration) float64 {
	begin, chunks := time.Now(), 0
	for _, err := range client.StreamOf[int](context.Background(), c, app, "count", n) {
		require.NoError(b, err)
		spin(work)
		chunks++
	}
	require.Equal(b, n, chunks)
	return float64(time.Since(begin)) / float64(n)
}

func bareCalls(b *testing.B, conn net.Conn, n int) float64 { return timeBare(b, conn, n, pauseBefore) }

func bareBurst(b *testing.B, conn net.Conn, n int) float64 { return timeBare(b, conn, n, 0) }

func timeBare(b *testing.B, conn net.Conn, n int, pause time.Duration) float64 {
	request, err := dirty.AppendMessage(nil, dirty.NewRequest(1, app, "identity", []any{1}, nil))
	require.NoError(b, err)
	buf := make([]byte, 4096)
	return medianCall(n, pause, func() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		for got := 0; got < dirty.HeaderSize || got < dirty.HeaderSize+int(binary.BigEndian.Uint32(buf[4:])); {
			m, err := conn.Read(buf[got:])
			if err != nil {
				b.Fatal(err)
			}
			got += m
		}
	})
}

func bareStream(b *testing.B, conn net.Conn, n int) float64 {
	return rangeBare(b, conn, n, workOnChunk)
}

func bareEager(b *testing.B, conn net.Conn, n int) float64 { return rangeBare(b, conn, n, 0) }

// rangeBare reads the frames of a stream without decoding their payloads.
func rangeBare(b *testing.B, conn net.Conn, n int, work time.Duration) float64 {
	request, err := dirty.AppendMessage(nil, dirty.NewRequest(1, app, "count", []any{n}, nil))
	require.NoError(b, err)
	begin := time.Now()
	_, err = conn.Write(request)
	require.NoError(b, err)
	in, header := bufio.NewReaderSize(conn, 64<<10), make([]byte, dirty.HeaderSize)
	for chunks := 0; ; chunks++ {
		_, err := io.ReadFull(in, header)
		require.NoError(b, err)
		_, err = in.Discard(int(binary.BigEndian.Uint32(header[4:])))
		require.NoError(b, err)
		spin(work)
		if dirty.MessageType(header[3]) == dirty.TypeEnd {
			require.Equal(b, n, chunks)
			return float64(time.Since(begin)) / float64(n)
		}
	}
}

// pythonBench is a running bench.py.
type pythonBench struct {
	in  io.Writer
	out *bufio.Reader
}

func startPython(b *testing.B, p python, socket string) *pythonBench {
	cmd := exec.Command(p.path, "-B", "bench.py", socket, app)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = in.Close() // ends it
		require.NoError(b, cmd.Wait())
	})
	return &pythonBench{in, bufio.NewReader(out)}
}

func (p *pythonBench) run(b *testing.B, what string, n int) float64 {
	_, err := fmt.Fprintln(p.in, what, n)
	require.NoError(b, err)
	line, err := p.out.ReadString('\n')
	require.NoError(b, err)
	v, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
	require.NoError(b, err)
	return v
}
