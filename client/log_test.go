package client_test

import (
	"bytes"
	"context"

	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// syncBuffer is a buffer for a logger.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestLog: what the client reports, and that nothing of what it carries is in
// it: no arguments, keys, values, results or tracebacks.
func TestLog(t *testing.T) {
	const secret = "s3cr3t"
	ctx := context.Background()
	remote := &dirty.RemoteError{Type: "DirtyAppError", Message: secret, Details: map[string]any{"traceback": secret}}
	secretly := func(c *client.Client) {
		_, _ = c.Execute(ctx, app, "echo", secret, client.Kwargs{secret: secret})
		_, _ = collect(c.Stream(ctx, app, "count", secret, secret))
		_ = c.Stash("t").Put(ctx, secret, secret)
		_, _ = c.Stash("t").Get(ctx, secret)
		_, _ = c.Stash("t").Keys(ctx, secret)
		_ = c.Ping(ctx)
	}
	for _, tt := range []struct {
		name  string
		serve func(net.Conn)
		logs  []string
	}{
		{"good", answering(arbiter), []string{"level=DEBUG", "connection closed", "reason=shutdown"}},
		{"an error", answering(func(c *dirty.Conn, m dirty.Message) error {
			return c.WriteMessage(dirty.NewErrorReply(m.RequestID(), remote))
		}), nil},
		{"a foreign id", answering(func(c *dirty.Conn, m dirty.Message) error {
			return c.WriteMessage(dirty.NewResponse(m.RequestID()+1, secret))
		}), []string{"level=WARN", "another request", "type=response", "operation=execute"}},
		{"two replies", sending(func(id uint64) []byte {
			return frames(dirty.NewResponse(id, secret), dirty.NewErrorReply(id, remote))
		}), []string{"level=WARN", "more than one reply", "reason=protocol"}},
		{"no frame", sending(func(uint64) []byte { return []byte(secret + secret + secret) }), []string{"reason=protocol"}},
		{"bad payloads", sending(func(id uint64) []byte {
			return rawFrame(dirty.TypeResponse, id, append(encoded(secret), secret...))
		}), nil},
		{"chunks", sending(func(id uint64) []byte {
			return frames(dirty.NewChunk(id, secret))
		}), []string{"reason=protocol"}},
		{"an end after each reply", func(nc net.Conn) {
			if m, err := dirty.ReadMessage(nc); err == nil {
				_ = arbiter(dirty.NewConn(nc), m)
				_, _ = io.ReadFull(nc, make([]byte, 5))
			}
		}, []string{"made again", "reason=failed"}},
		{"no answer", mute, []string{"reason=timeout"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log, standard syncBuffer
				before := slog.Default()
				slog.SetDefault(slog.New(slog.NewTextHandler(&standard, &slog.HandlerOptions{Level: slog.LevelDebug})))
				defer slog.SetDefault(before)
				p := newPipePeer(t, tt.serve)
				logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				c := p.client(t, client.WithLogger(logger))
				secretly(c)
				require.NoError(t, c.Close())
				for _, want := range tt.logs {
					assert.Contains(t, log.String(), want)
				}
				assert.NotContains(t, log.String(), secret)

				c = p.client(t)
				secretly(c)
				require.NoError(t, c.Close())
				assert.Empty(t, standard.String(), "silent by default")
			})
		})
	}
}
