package cluster

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newLinked returns a front with one host that is connected, and whether that has ended.
func newLinked() (f *Front, l *link, ended *bool) {
	f, ended = &Front{cfg: FrontConfig{MaxCalls: 10}}, new(bool)
	h := &host{front: f, end: func() { *ended = true }}
	l = &link{host: h, apps: map[string]*linkApp{}, waiting: map[string]int{}, tell: make(chan struct{}, 1)}
	h.link, f.hosts = l, []*host{h}
	return f, l, ended
}

// TestLeaveServed checks a call whose caller leaves when it has just got a slot of a host
// that is no member any more: with it the host ends.
func TestLeaveServed(t *testing.T) {
	f, l, ended := newLinked()
	one := share{Slots: 1, Free: 1}
	l.setLoad(load{All: one, Apps: map[string]share{"app:A": one}})
	w := f.queue.push("app:A", false)
	f.serve(l)
	require.Same(t, l, w.to)
	l.host.retire()
	require.False(t, *ended)
	f.leave(w)
	assert.True(t, *ended)
	assert.Zero(t, l.running)
}

// TestForgottenApps checks that a front keeps no more apps than the agent names, and
// those of calls that run.
func TestForgottenApps(t *testing.T) {
	_, l, _ := newLinked()
	one, two := share{Slots: 1, Free: 1}, share{Slots: 2, Free: 2}
	l.setLoad(load{All: two, Apps: map[string]share{"app:A": one, "app:B": one}})
	l.start("app:A")
	l.setLoad(load{All: two, Apps: map[string]share{"app:C": one}})
	assert.Len(t, l.apps, 2)
	assert.Zero(t, l.host.free("app:A"))
	assert.Zero(t, l.host.free("app:B"))
	assert.Equal(t, 1, l.host.free("app:C"))
	l.finish("app:A")
	l.setLoad(load{All: two, Apps: map[string]share{"app:C": one}})
	assert.Len(t, l.apps, 1)
}

// deafConn is a connection whose Write blocks, even once it is closed.
type deafConn struct {
	net.Conn
	writing, release chan struct{}
}

func (c deafConn) Write([]byte) (int, error) {
	close(c.writing)
	<-c.release
	return 0, net.ErrClosed
}

// TestFrontThatDoesNotRead checks that the end of a connection waits for no answer: an
// agent forgets a front that has left and did not read its welcome.
func TestFrontThatDoesNotRead(t *testing.T) {
	a, err := NewAgent(AgentConfig{Plain: true})
	require.NoError(t, err)
	near, far := net.Pipe()
	c := deafConn{near, make(chan struct{}), make(chan struct{})}
	ctx, leave := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.server.ServeConn(ctx, c) }()
	request := dirty.NewRequest(1, agentApp, actionHello, []any{hello{Front: "x", Version: version}}, nil)
	require.NoError(t, dirty.NewConn(far).WriteMessage(request))
	<-c.writing
	leave()
	require.Eventually(t, func() bool {
		a.slots.mu.Lock()
		defer a.slots.mu.Unlock()
		return len(a.slots.fronts) == 0
	}, 20*time.Second, time.Millisecond)
	close(c.release)
	require.Error(t, <-served)
	require.NoError(t, a.Close())
}
