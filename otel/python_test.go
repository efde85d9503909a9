//go:build unix

package dirtyotel_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	dirtyotel "github.com/gunicorn-go/dirty/otel"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/internal/realgunicorn"
)

// TestPython: the example in Python, under real gunicorn, goes on with the trace of the
// Go client where it was sent, and works where it was not.
func TestPython(t *testing.T) {
	python, folder := realgunicorn.Python(t, ".."), realgunicorn.Folder(t)
	socket := filepath.Join(folder, "dirty.sock")
	realgunicorn.Start(t, python, filepath.Join("python", "gunicorn.conf.py"), folder, "DIRTY_SOCKET="+socket)

	w := watch(t)
	inject := dirtyotel.WithInject(func(c dirtyotel.Call) bool { return c.Action != "plain" })
	dial := func(opts ...dirtyotel.Option) *client.Client {
		c, err := client.New(client.WithSocket(socket), client.WithTracer(dirtyotel.NewTracer(w.with(opts...)...)), client.WithWaitForServer(time.Minute))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		return c
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	with, without := dial(inject), dial()
	require.NoError(t, with.WaitReady(ctx, "app:Model"))
	done := len(w.spans.Ended())
	trace := func() string {
		done++
		return w.ended(done)[done-1].SpanContext().TraceID().String()
	}

	type answer struct {
		Label string  `dirty:"label"`
		Trace *string `dirty:"trace"`
	}
	got, err := client.Call[answer](ctx, with, "app:Model", "classify", []byte("image"))
	require.NoError(t, err)
	assert.Equal(t, trace(), *got.Trace)

	var words []string
	for word, err := range client.StreamOf[string](ctx, with, "app:Model", "tokens", "to be") {
		require.NoError(t, err)
		words = append(words, word)
	}
	id := trace()
	assert.Equal(t, []string{"to " + id, "be " + id}, words)

	label, err := client.Call[string](ctx, with, "app:Model", "plain", []byte("image"))
	require.NoError(t, err)
	assert.Equal(t, "cat", label)
	trace()

	got, err = client.Call[answer](ctx, without, "app:Model", "classify", []byte("image"))
	require.NoError(t, err)
	assert.Nil(t, got.Trace)
	trace()

	// What becomes of an action that does not take it.
	all := dial(dirtyotel.WithInject(func(dirtyotel.Call) bool { return true }))
	_, err = all.Execute(ctx, "app:Model", "plain", []byte("image"))
	require.ErrorIs(t, err, dirty.ErrApp)
	assert.True(t, strings.Contains(err.Error(), "_meta"), err)
	assert.Equal(t, "TypeError", attributesOf(w.ended(done + 1)[done])["exception.type"])
}
