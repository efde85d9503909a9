package main

import (
	"context"
	"io"
	"os"
)

// openInput opens the one argument of a command, a file or "-". A command never
// reads standard input without being asked: in a script it would seem to hang.
func (c *cli) openInput(name string) (io.ReadCloser, error) {
	if name == "-" {
		if _, ok := c.stdin.(*os.File); !ok {
			return io.NopCloser(c.stdin), nil
		}
		return c.openWaiting(func() (io.ReadCloser, error) { return io.NopCloser(c.stdin), nil })
	}
	if info, err := os.Stat(name); err != nil || info.Mode().IsRegular() {
		return os.Open(name)
	}
	return c.openWaiting(func() (io.ReadCloser, error) { return os.Open(name) })
}

// openWaiting opens what may have to be waited for. Neither opening a pipe nor reading
// from one can be cancelled. So both are done by a goroutine, which is left behind when
// the command is interrupted.
func (c *cli) openWaiting(open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	opened := make(chan error, 1)
	out, in := io.Pipe()
	go func() {
		from, err := open()
		if opened <- err; err != nil {
			return
		}
		defer from.Close()
		_, err = io.Copy(in, from)
		in.CloseWithError(err) // nil is the end
	}()
	select {
	case err := <-opened:
		if err != nil {
			return nil, err
		}
	case <-c.ctx.Done():
		_ = out.Close()
		return nil, c.ctx.Err()
	}
	stop := context.AfterFunc(c.ctx, func() { out.CloseWithError(c.ctx.Err()) })
	return &input{out, stop}, nil
}

// input is what openInput has opened.
type input struct {
	*io.PipeReader
	stop func() bool
}

// Close ends the goroutine, unless it waits for input.
func (in *input) Close() error {
	in.stop()
	return in.PipeReader.Close()
}
