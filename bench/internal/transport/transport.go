// Package transport measures frames that two processes exchange over a Unix
// socket: this process, and children that it starts from the same executable. So
// a program that uses it calls [MaybeChild] first.
package transport

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/bench/internal/rounds"
)

// Results is what was measured. Its methods make the report of it.
type Results struct {
	echoes  []set
	counts  []callCount
	buffers []bufferSet
	streams []set
	callers []set
	calls   []set
	chunks  []set
	Skipped []string // what was not measured, and why
}

// set is the results of competitors that were measured in turns.
type set struct {
	place   string // where the two processes ran
	size    int    // of a frame, in bytes
	conns   int    // connections
	results []rounds.Result
}

// of returns the result of a case.
func (s set) of(name string) rounds.Result {
	for _, r := range s.results {
		if r.Name == name {
			return r
		}
	}
	panic("no case " + name)
}

// plan says how much is measured.
type plan struct {
	rounds   int
	duration time.Duration // of a case in a round
	echoes   int           // to count system calls over
	sizes    []int         // of the frames that are echoed
}

// Run measures everything by the time on the wall, each case for so many rounds
// of about the duration.
func Run(rounds int, duration time.Duration) (Results, error) {
	return plan{rounds, duration, 2000, []int{100, 1600, 64 << 10, 1 << 20, 16 << 20}}.run()
}

func (p plan) run() (Results, error) {
	var r Results
	everywhere := []func(place string, r *Results) error{p.echo, p.buffers, p.streams}
	err := onOneCore(func() error {
		for _, measure := range append(everywhere, p.count) {
			if err := measure(oneCore, &r); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errors.ErrUnsupported) {
		r.skip("both processes on one core, and the system calls", err)
		err = nil
	}
	for _, measure := range append(everywhere, p.callers) {
		if err == nil {
			err = measure(allCores(), &r)
		}
	}
	for _, measure := range []func(string, *Results) error{p.calls, p.chunks} {
		if err != nil {
			return r, err
		}
		if err = measure(allCores(), &r); errors.Is(err, errors.ErrUnsupported) {
			r.skip("CPU time of two processes", err)
			err = nil
		}
	}
	return r, err
}

// skip keeps what was not measured, and why.
func (r *Results) skip(what string, why error) {
	if text := fmt.Sprintf("%s: %v", what, why); !slices.Contains(r.Skipped, text) {
		r.Skipped = append(r.Skipped, text)
	}
}

// oneCore is the place where nothing waits for another core to wake up, which
// would hide the rest.
const oneCore = "one core"

func allCores() string { return fmt.Sprintf("%d cores", runtime.GOMAXPROCS(0)) }

// measure measures cases in turns.
func (p plan) measure(cases []rounds.Case) ([]rounds.Result, error) {
	return rounds.Measure(rounds.Wall, cases, p.rounds, p.duration)
}

// open starts a child in a mode, and makes so many connections to it.
func (p *peers) open(m mode, j job, conns int) (*peer, []end, error) {
	j.Serve = m.name
	c, err := p.start(j)
	if err != nil {
		return nil, nil, err
	}
	ends := make([]end, conns)
	for i := range ends {
		conn, err := p.dial(c)
		if err != nil {
			return nil, nil, err
		}
		if ends[i], err = m.open(conn, newFrame(j.Size)); err != nil {
			return nil, nil, err
		}
		if closer, ok := ends[i].(io.Closer); ok {
			p.closers = append(p.closers, closer)
		}
	}
	return c, ends, nil
}

// echo measures the ways to write and read frames against each other.
func (p plan) echo(place string, r *Results) error {
	for _, size := range p.sizes {
		err := withPeers(func(peers *peers) error {
			var cases []rounds.Case
			for _, m := range modes {
				_, ends, err := peers.open(m, job{Size: size}, 1)
				if err != nil {
					return err
				}
				cases = append(cases, rounds.Case{Name: m.name, Run: func(n int) error { return echoes(ends[0], n) }})
			}
			results, err := p.measure(cases)
			r.echoes = append(r.echoes, set{place: place, size: size, results: results})
			return err
		})
		if err != nil {
			return fmt.Errorf("echo of %d bytes: %w", size, err)
		}
	}
	return nil
}

// bufferSet is a set whose cases are sizes of the send buffer.
type bufferSet struct {
	set
	stream    bool           // one way, not an echo
	effective map[string]int // the size that the system made of each
}

// defaultMaxSendBuffer is the largest send buffer that Linux allows by default.
const defaultMaxSendBuffer = 212992

var sendBuffers = []struct {
	name string
	size int
}{{"default", 0}, {"208 KiB", defaultMaxSendBuffer}, {"1 MiB", 1 << 20}, {"4 MiB", 4 << 20}}

// buffers measures what a larger send buffer buys for a dirty.Conn.
func (p plan) buffers(place string, r *Results) error {
	large := p.sizes[2:]
	for i, size := range append(slices.Clone(large), large[:len(large)-1]...) {
		s := bufferSet{set{place: place, size: size}, i >= len(large), map[string]int{}}
		err := withPeers(func(peers *peers) error {
			var cases []rounds.Case
			for _, b := range sendBuffers {
				open := peers.echoRun
				if s.stream {
					open = peers.streamRun
				}
				run, err := open(job{Size: size, SendBuffer: b.size})
				if err != nil {
					return err
				}
				s.effective[b.name], err = sendBuffer(peers.lastConn())
				if err != nil && !errors.Is(err, errors.ErrUnsupported) {
					return err
				}
				cases = append(cases, rounds.Case{Name: b.name, Run: run})
			}
			var err error
			s.results, err = p.measure(cases)
			return err
		})
		if err != nil {
			return fmt.Errorf("send buffers for %d bytes: %w", size, err)
		}
		r.buffers = append(r.buffers, s)
	}
	return nil
}

// echoRun returns a function that echoes n frames over a dirty.Conn.
func (p *peers) echoRun(j job) (func(n int) error, error) {
	_, ends, err := p.open(modeOf(modeConn), j, 1)
	if err != nil {
		return nil, err
	}
	return func(n int) error { return echoes(ends[0], n) }, nil
}

// streamRun returns a function that reads n frames from a dirty.Conn. Each was
// one write.
func (p *peers) streamRun(j job) (func(n int) error, error) {
	j.Serve = serveFrames
	c, err := p.start(j)
	if err != nil {
		return nil, err
	}
	return p.frameReader(c, j.Size)
}

func modeOf(name string) mode {
	for _, m := range modes {
		if m.name == name {
			return m
		}
	}
	panic("no mode " + name)
}

// systemCalls counts system calls.
type systemCalls struct{ reads, writes float64 }

func (c systemCalls) since(before systemCalls, echoes int) systemCalls {
	return systemCalls{(c.reads - before.reads) / float64(echoes), (c.writes - before.writes) / float64(echoes)}
}

// callCount is how many system calls a frame takes on the two sides.
type callCount struct {
	mode      string
	size      int
	near, far systemCalls
}

// count counts system calls of some modes.
func (p plan) count(_ string, r *Results) error {
	for _, size := range p.sizes[:len(p.sizes)-1] {
		for _, name := range []string{modeBare, modeConn, modeTwoWrites, modeTwoTwo} {
			err := withPeers(func(peers *peers) error {
				c, ends, err := peers.open(modeOf(name), job{Size: size}, 1)
				if err != nil {
					return err
				}
				n := min(p.echoes, max(1, p.echoes*(64<<10)/size))
				near, far, err := c.callsOf(func(n int) error { return echoes(ends[0], n) }, n)
				r.counts = append(r.counts, callCount{name, size, near, far})
				return err
			})
			if err != nil {
				return fmt.Errorf("system calls of %s: %w", name, err)
			}
		}
	}
	return nil
}

// frameSize returns how many bytes the frame of a message has.
func frameSize(m dirty.Message) (int, error) {
	b, err := dirty.AppendMessage(nil, m)
	return len(b), err
}
