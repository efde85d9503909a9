package server

import (
	"context"
	"errors"
	"net"
)

// Run listens at a path as [Server.ListenAndServe] does, and serves until ctx
// ends. Then it shuts the server down, for which it takes [Server.DrainTimeout] at
// most: replies that are under way are written to their end, and the handlers that
// run on are ended. It is for a main function:
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	err := s.Run(ctx, "/run/app/dirty.sock")
//
// It returns nil if ctx has ended and all replies were written, and the error of
// [Server.Shutdown] if not all were. It returns early, with the error of
// ListenAndServe, if it cannot listen, if the listener fails, or if the server is
// closed by others; and with [ErrTakenOver] if another process has taken it over.
//
// With [Server.StashFile] it reads that file before it serves, and writes it before
// it returns, unless another process has taken the server over. If the file cannot
// be read, Run serves nobody, and the file stays as it is. What handlers put after
// the DrainTimeout is not in the file.
func (s *Server) Run(ctx context.Context, path string) error {
	return s.run(ctx, func() (net.Listener, error) {
		if s.closing.Load() {
			return nil, ErrServerClosed
		}
		return s.Listen(path)
	})
}

// RunListener does what [Server.Run] does, with a listener, such as one of
// [SystemdListeners] or of [Server.Listen]. It closes the listener.
func (s *Server) RunListener(ctx context.Context, l net.Listener) error {
	return s.run(ctx, func() (net.Listener, error) { return l, nil })
}

func (s *Server) run(ctx context.Context, listen func() (net.Listener, error)) error {
	var began bool // to serve
	served := make(chan error, 1)
	go func() {
		l, err := listen()
		if err == nil {
			if err = s.readStash(context.WithoutCancel(ctx)); err != nil {
				_ = (&foreignListener{l, &s.journal}).Close()
			}
		}
		if err == nil {
			began = true
			err = s.Serve(l)
		}
		served <- err
	}()
	var err error
	select {
	case err = <-served:
		if !began || s.StashFile == "" || err == ErrTakenOver {
			return err
		}
		_ = s.drain(ctx) // nothing is to change while the file is written
	case <-ctx.Done():
		err = s.drain(ctx)
		e := <-served
		if !errors.Is(e, ErrServerClosed) {
			err = errors.Join(e, err)
		}
		if !began || e == ErrTakenOver {
			return err
		}
	}
	return errors.Join(err, s.writeStash(context.WithoutCancel(ctx)))
}

// drain shuts the server down, for which it takes DrainTimeout at most.
func (s *Server) drain(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if d := timeout(s.DrainTimeout, DefaultDrainTimeout); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	return s.Shutdown(ctx)
}
