package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gunicorn-go/dirty/bench/internal/rounds"
	"github.com/gunicorn-go/dirty/client"
)

// callSize is the size of a call's request, as a frame of ours. All others send the
// same text.
const callSize = 1600

// mostConns is how many connections a pool may have. If there are more callers, some
// of them wait.
const mostConns = 64

// callPeer is one way to make calls: a client and its server.
type callPeer struct {
	name string
	note string // how it uses connections
	// open starts the server. The function that it returns makes one call. It may be
	// called by many callers at once, and gets the number of the caller.
	open func(p *peers, conns int) (call func(caller int, text string) error, far *peer, err error)
}

// The names that goals refer to.
const (
	callLibrary  = "client.Client → server.Server"
	callConn     = "dirty.Conn, echo"
	callFresh    = "dirty.Conn, echo from new memory"
	callMessages = modeMessages
	callRPC      = "net/rpc"
	callRPCEach  = "net/rpc, more connections"
)

var callPeers = []callPeer{
	{callLibrary, "a pool; one call on a connection at a time", openLibrary},
	{callConn, "frames that nobody decodes, the floor of this library; a connection for each caller, and callers take turns beyond 64", openEchoes(modeOf(modeConn))},
	{callFresh, "as the echo, but each side reads each frame into new memory, as a text must be that somebody gets", openEchoes(modeOf(modeFresh))},
	{callMessages, "as the echo, but both sides decode and encode each message, into new memory; no pool, no time limit, no handler", openEchoes(messageMode)},
	{callRPC, "all calls at once on one connection, as it is meant to be used", openRPC(false)},
	{callRPCEach, "as many connections as a pool has; callers share them beyond 64", openRPC(true)},
	{"grpc-go", "unary calls, all at once on one connection of HTTP/2", openGRPC},
	{"net/http, JSON", "a pool; one call on a connection at a time", openHTTP},
	{"go-redis, ECHO", "a pool; one call on a connection at a time. Its server is redis-server, which is written in C, and runs on one core", openRedis},
}

// errOtherText is for a reply that is not what was sent.
var errOtherText = errors.New("another text came back")

// errMissing is for a server that this machine does not have.
var errMissing = errors.New("missing on this machine")

// calls measures calls of our library beside others.
func (p plan) calls(place string, r *Results) error {
	empty, err := frameSize(echoRequest(""))
	if err != nil {
		return err
	}
	text := strings.Repeat("x", callSize-empty)
	for _, callers := range []int{1, 8, 64, 512} {
		err := withPeers(func(peers *peers) error {
			var cases []rounds.Case
			for _, kind := range callPeers {
				call, far, err := kind.open(peers, min(callers, mostConns))
				if errors.Is(err, errMissing) {
					r.skip(kind.name, err)
					continue
				}
				if err != nil {
					return fmt.Errorf("%s: %w", kind.name, err)
				}
				cpu, err := far.cpuOfBoth()
				if err != nil {
					return err
				}
				timed := newTimedCalls(callers, func(caller int) error { return call(caller, text) })
				cases = append(cases, rounds.Case{Name: kind.name, Run: timed.run, CPU: cpu, Latencies: timed.all})
			}
			results, err := rounds.Measure(rounds.Wall, cases, p.rounds, callTimes*p.duration)
			r.calls = append(r.calls, set{place: place, size: callSize, conns: callers, results: results})
			return err
		})
		if err != nil {
			return fmt.Errorf("%d callers: %w", callers, err)
		}
	}
	return nil
}

// callTimes is how many times as long as others these cases run: 99 of 100 calls
// should be many calls.
const callTimes = 5

// timedCalls makes calls from several goroutines, and keeps how long each took.
type timedCalls struct {
	call      func(caller int) error
	latencies [][]time.Duration // of each caller
	joined    []time.Duration
}

func newTimedCalls(callers int, call func(caller int) error) *timedCalls {
	return &timedCalls{call: call, latencies: make([][]time.Duration, callers)}
}

// run makes n calls.
func (t *timedCalls) run(n int) error {
	for i, l := range t.latencies {
		t.latencies[i] = l[:0]
	}
	return share(n, len(t.latencies), func(caller, n int) error {
		took, start := t.latencies[caller], time.Now()
		for range n {
			if err := t.call(caller); err != nil {
				return err
			}
			now := time.Now()
			took, start = append(took, now.Sub(start)), now
		}
		t.latencies[caller] = took
		return nil
	})
}

// all returns the latencies of the last run.
func (t *timedCalls) all() []time.Duration {
	t.joined = t.joined[:0]
	for _, l := range t.latencies {
		t.joined = append(t.joined, l...)
	}
	return t.joined
}

// openLibrary calls with our client and answers with our server.
func openLibrary(p *peers, conns int) (func(int, string) error, *peer, error) {
	far, err := p.start(job{Serve: serveLibrary})
	if err != nil {
		return nil, nil, err
	}
	c, err := p.client(far, conns)
	return func(_ int, text string) error {
		result, err := client.Call[string](context.Background(), c, app, echoAction, text)
		if err == nil && result != text {
			err = errOtherText
		}
		return err
	}, far, err
}

// openEchoes sends what the mode sends to and fro.
func openEchoes(m mode) func(p *peers, conns int) (func(int, string) error, *peer, error) {
	return func(p *peers, conns int) (func(int, string) error, *peer, error) {
		far, ends, err := p.open(m, job{Size: callSize}, conns)
		turns := make([]sync.Mutex, conns)
		return func(caller int, _ string) error {
			i := caller % conns
			turns[i].Lock()
			defer turns[i].Unlock()
			return echoes(ends[i], 1)
		}, far, err
	}
}
