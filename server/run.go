package server

import (
	"context"
	"errors"
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
func (s *Server) Run(ctx context.Context, path string) error {
	served := make(chan error, 1)
	go func() { served <- s.ListenAndServe(path) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	drain := context.WithoutCancel(ctx)
	if d := timeout(s.DrainTimeout, DefaultDrainTimeout); d > 0 {
		var cancel context.CancelFunc
		drain, cancel = context.WithTimeout(drain, d)
		defer cancel()
	}
	err := s.Shutdown(drain)
	if e := <-served; !errors.Is(e, ErrServerClosed) {
		err = errors.Join(e, err)
	}
	return err
}
