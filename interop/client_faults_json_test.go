//go:build unix

package interop

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
)

// sendJSON calls an action in the protocol of gunicorn 25.0.
func sendJSON(c net.Conn, action string, args ...any) error {
	request, err := json.Marshal(map[string]any{
		"type": "request", "id": "1", "app_path": app, "action": action, "args": append([]any{}, args...), "kwargs": map[string]any{},
	})
	if err != nil {
		return err
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(request))), request...))
	return err
}

// pingJSON is nil if a worker answers.
func pingJSON(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if err := sendJSON(c, "pid"); err != nil {
		return err
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return err
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if !strings.Contains(string(answer), `"response"`) {
		return fmt.Errorf("answered by %s", answer)
	}
	return nil
}

// TestClientFaultJSON: gunicorn 25.0 closes the connection without a word, as later
// releases do after a bad frame. The client finds out which of the two it is, even if
// all workers are busy.
func TestClientFaultJSON(t *testing.T) {
	onLinux(t)
	t.Parallel()
	eachOf(t, pythons25, func(t *testing.T, p python) {
		g := fresh(t, p, options{JSON: true})
		busy, err := net.Dial("unix", g.socket)
		require.NoError(t, err)
		t.Cleanup(func() { _ = busy.Close() })
		c := g.client(t)
		check := func(name string, call func() error) {
			begin := time.Now()
			err := call()
			require.ErrorIs(t, err, client.ErrUnsupportedPeer, name)
			assert.False(t, client.SafeToRetry(err), name)
			assert.ErrorContains(t, err, "25.1", name)
			assert.Less(t, time.Since(begin), within, name)
			if name == "execute" {
				report(t, "gunicorn 25.0, which speaks JSON (never back)", describeOutcome(err), 0)
			}
		}
		for name, call := range map[string]func() error{
			"execute": func() error { _, err := c.Execute(t.Context(), app, "pid"); return err },
			"stream":  func() error { _, err := collect(c.Stream(t.Context(), app, "count", 3)); return err },
			"ping":    func() error { return c.Ping(t.Context()) },
			"stash":   func() error { return c.Stash("t").Put(t.Context(), "k", 1) },
			"ready":   func() error { return c.WaitReady(t.Context(), app) },
			"workers": func() error { _, err := c.AddWorkers(t.Context(), 1); return err },
		} {
			check(name, call)
		}
		require.NoError(t, sendJSON(busy, "hold", t.Name(), 5))
		g.events.await(t, "begin "+t.Name())
		check("while the worker is busy", func() error { return c.Ping(t.Context()) })
	})
}
