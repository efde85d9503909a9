package cluster_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty/cluster"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDNS checks that a name is looked up again and again, that only changes are told,
// and that the last list stays while nothing is found.
func TestDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type answer struct {
			addrs []string
			err   error
		}
		answers := []answer{
			{nil, errors.New("no server answers")},
			{[]string{"10.0.0.2", "10.0.0.1", "10.0.0.2"}, nil},
			{[]string{"10.0.0.1", "10.0.0.2"}, nil}, // the same, in another order
			{nil, errors.New("no such host")},
			{nil, nil},
			{[]string{"10.0.0.1", "fd00::1"}, nil},
		}
		var lookups []time.Duration
		begin := time.Now()
		d := &cluster.DNS{Name: "agents:9500", Interval: time.Second, Lookup: func(_ context.Context, name string) ([]string, error) {
			assert.Equal(t, "agents", name)
			lookups = append(lookups, time.Since(begin))
			a := answers[min(len(lookups), len(answers))-1]
			return a.addrs, a.err
		}}
		var lists [][]cluster.Member
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second+time.Millisecond)
		defer cancel()
		require.NoError(t, d.Watch(ctx, func(m []cluster.Member) { lists = append(lists, m) }))
		assert.Equal(t, [][]cluster.Member{
			{{Addr: "10.0.0.1:9500"}, {Addr: "10.0.0.2:9500"}},
			{{Addr: "10.0.0.1:9500"}, {Addr: "[fd00::1]:9500"}},
		}, lists)
		assert.Len(t, lookups, 11)
		assert.Equal(t, 10*time.Second, lookups[10])
	})
}

// TestDNSThatHangs checks that a look-up that does not end is ended.
func TestDNSThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lookups := 0
		d := &cluster.DNS{Name: "agents:9500", Interval: time.Second, Lookup: func(ctx context.Context, _ string) ([]string, error) {
			lookups++
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		ctx, cancel := context.WithTimeout(context.Background(), 9*time.Second)
		defer cancel()
		require.NoError(t, d.Watch(ctx, func([]cluster.Member) { t.Error("there is no list") }))
		assert.Equal(t, 5, lookups)
	})
}

// TestDNSName checks that a name without a port is refused.
func TestDNSName(t *testing.T) {
	err := (&cluster.DNS{Name: "agents"}).Watch(context.Background(), func([]cluster.Member) {})
	assert.ErrorContains(t, err, "missing port")
}

// watchFunc is Members by a function.
type watchFunc func(ctx context.Context, set func([]cluster.Member)) error

func (f watchFunc) Watch(ctx context.Context, set func([]cluster.Member)) error { return f(ctx, set) }

// TestWatchThatHangs checks that a front ends although its Members do not return.
func TestWatchThatHangs(t *testing.T) {
	watching, release, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	f, err := cluster.NewFront(cluster.FrontConfig{Plain: true,
		Members: watchFunc(func(_ context.Context, set func([]cluster.Member)) error {
			defer close(gone)
			close(watching)
			<-release
			set([]cluster.Member{{Addr: "127.0.0.1:1"}}) // does nothing any more
			return nil
		})})
	require.NoError(t, err)
	receive(t, "the watch", watching)
	closed := make(chan error, 1)
	go func() { closed <- f.Close() }()
	assert.NoError(t, receive(t, "Close", closed))
	close(release)
	receive(t, "the watch's end", gone)
	assert.Empty(t, f.Status().Hosts)
}
