package server_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"net"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
)

// Whatever a client sends, the server neither panics nor hangs, and what it
// answers are frames of the kinds that answers have.
func FuzzServeConn(f *testing.F) {
	for _, m := range []dirty.Message{
		dirty.NewRequest(1, app, "echo", []any{1, "x"}, kw{"k": 1}), dirty.NewRequest(1, app, "count", []any{2}, nil),
		dirty.NewStatusRequest(2), dirty.NewManageRequest(3, dirty.ManageAdd, 1), dirty.NewEnd(4),
		dirty.NewStashRequest(5, dirty.StashPut, "t", "k", []any{1}, ""), dirty.NewStashRequest(6, dirty.StashGet, "t", 5, nil, ""),
		dirty.NewStashRequest(7, dirty.StashKeys, "t", nil, nil, "[!a-c]*?"),
	} {
		f.Add(message(m))
		f.Add(append(message(m), message(dirty.NewStatusRequest(9))...))
	}
	f.Add([]byte("garbage"))
	mux := server.NewMux()
	mux.Handle(app, "echo", server.Func(func(_ context.Context, v any) (any, error) { return v, nil }))
	mux.Handle(app, "count", server.StreamFunc(func(ctx context.Context, n int) iter.Seq2[int, error] {
		return counting(nil)(ctx, min(n, 10))
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &server.Server{Handler: mux, FrameTimeout: 10 * time.Millisecond}
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- s.ServeConn(context.Background(), theirs) }()
		go func() {
			_, err := ours.Write(data)
			for err == nil { // or a server that waits for more would wait for ever
				_, err = ours.Write([]byte("XX and more than a header"))
			}
		}()
		c := dirty.NewConn(ours)
		for {
			m, err := c.ReadMessage()
			if err != nil {
				var protocol *dirty.ProtocolError
				if errors.As(err, &protocol) || !errors.Is(err, io.EOF) {
					t.Errorf("the server answered: %v", err)
				}
				break
			}
			switch m.(type) {
			case *dirty.Response, *dirty.ErrorReply, *dirty.Chunk, *dirty.End:
			default:
				t.Errorf("the server answered with %T", m)
			}
		}
		_ = ours.Close()
		<-served
		if n := s.Stats().Panics; n != 0 {
			t.Errorf("%d panics", n)
		}
	})
}
