package server

import (
	"context"
	"os"
	"strconv"

	"github.com/gunicorn-go/dirty"
)

// status answers a status query.
func (s *Server) status(ctx context.Context) (any, error) {
	if s.Status != nil {
		return s.Status(ctx)
	}
	apps := []string{}
	if l, ok := s.cfg.handler.(lister); ok {
		apps = append(apps, l.Apps()...)
	}
	pid := os.Getpid()
	return dirty.StatusResult{
		ArbiterPID:  pid,
		Workers:     []dirty.WorkerStatus{{PID: pid, Age: 1, Apps: apps, Booted: true, LastHeartbeat: new(float64)}}, // just now
		WorkerCount: 1,
		Apps:        apps,
	}, nil
}

// manage answers a manage operation.
func (c *conn) manage(ctx context.Context, f dirty.Frame) (any, error) {
	m, err := c.decodeOptions().DecodeFrame(f)
	if err != nil {
		return nil, err
	}
	op, count := m.(*dirty.ManageRequest).Op, max(m.(*dirty.ManageRequest).Count, 1)
	switch {
	case op != dirty.ManageAdd && op != dirty.ManageRemove:
		return nil, dirtyError("Unknown manage operation: " + strconv.Itoa(int(op)))
	case c.server.Manage == nil:
		return nil, dirtyError("this server has no workers to " + op.String())
	}
	return c.server.Manage(ctx, op, count)
}
