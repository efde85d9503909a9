package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// shutdownTime bounds how long serve waits, after a signal to end, for calls
// that are running.
const shutdownTime = 5 * time.Second

// startTime bounds how long a server may take to start.
const startTime = 5 * time.Second

func runServe(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	path := flags.String("s", "", "")
	if err := parseFlags(flags, helpServe, args, stdout); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return usagef("serve: unexpected %q", flags.Args())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return serve(ctx, *path, stdout, slog.New(slog.NewTextHandler(stderr, nil)))
}

// serve runs the demonstration server until ctx ends. An empty path stands for
// one in a new folder for temporary files.
func serve(ctx context.Context, path string, stdout io.Writer, logger *slog.Logger) error {
	if path == "" {
		folder, err := os.MkdirTemp("", "dirty")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		path = filepath.Join(folder, "dirty.sock")
	}
	s := &server.Server{Handler: newDemoMux(func() {}), Logger: logger}
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- s.ListenAndServe(path)
	}()
	err := awaitServer(ctx, path, ended)
	if err == nil {
		_, err = fmt.Fprintf(stdout, "serving %[1]s on %[3]s\n"+
			"%[2]s=%[3]s python3 -c 'from gunicorn.dirty import get_dirty_client; print(get_dirty_client().execute(\"%[1]s\", \"add\", 1, 2))'\n",
			demoApp, client.EnvSocket, path)
	}
	if err != nil {
		_ = s.Close()
		<-ended
		if ctx.Err() != nil {
			return nil // it was told to end before it had started
		}
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	err = s.Shutdown(ctx)
	if err := <-ended; !errors.Is(err, server.ErrServerClosed) {
		return err
	}
	return err
}

// awaitServer waits until a server answers or has ended.
func awaitServer(ctx context.Context, path string, ended <-chan error) error {
	c, err := client.New(client.WithSocket(path), client.WithWaitForServer(startTime))
	if err != nil {
		return err
	}
	defer c.Close()
	answered := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { answered <- c.Ping(ctx) }()
	select {
	case err := <-ended:
		return err
	case err := <-answered:
		return err
	}
}
