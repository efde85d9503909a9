package dirtytest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
)

// TestScript: a script plays raw frames on one connection. The next connection is
// served as usual.
func TestScript(t *testing.T) {
	s := dirtytest.NewServer(t, newMux())
	end, err := dirty.AppendMessage(nil, dirty.NewEnd(1))
	require.NoError(t, err)
	s.Script(
		dirtytest.Expect(dirtytest.MatchCall(app, "count")),
		dirtytest.Send(func(id uint64) dirty.Message { return dirty.NewChunk(id, 1) }),
		dirtytest.Sleep(time.Millisecond),
		dirtytest.SendRaw(end), // of another request
		dirtytest.ExpectClose(),
	)
	c := s.Client()
	var got []int
	for i, e := range client.StreamOf[int](t.Context(), c, app, "count", 9) {
		if err = e; e == nil {
			got = append(got, i)
		}
	}
	require.ErrorIs(t, err, client.ErrIDMismatch)
	assert.Equal(t, []int{1}, got)
	v, err := c.Execute(t.Context(), app, "echo", "x")
	require.NoError(t, err)
	assert.Equal(t, "x", v)
	assert.Len(t, s.Requests(), 2)
}

// TestScriptFails: a client that does something else than the script expects fails the
// test.
func TestScriptFails(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []dirtytest.Step
		want  string
	}{
		{"another request", []dirtytest.Step{dirtytest.Expect(dirtytest.MatchCall(app, ""))}, "step 1 of the script of connection 1: an unexpected request came: status"},
		{"a request, not the end", []dirtytest.Step{dirtytest.ExpectClose()}, "a status came, not the end"},
		{"no second request", []dirtytest.Step{
			dirtytest.Expect(dirtytest.MatchAny),
			dirtytest.SendRaw([]byte("garbage, and enough for a header")),
			dirtytest.Expect(dirtytest.MatchAny),
		}, "step 3 of the script of connection 1: no request came: EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tb := &failingTB{TB: t}
			s := dirtytest.NewServer(tb, nil)
			s.Script(tt.steps...)
			require.Error(t, s.Client().Ping(t.Context()))
			require.Eventually(t, func() bool { return len(tb.all()) > 0 }, time.Minute, time.Millisecond)
			assert.Contains(t, tb.all()[0], tt.want)
		})
	}
}
