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

// shutdownTime is how long calls that go on may take when serve is told to end.
const shutdownTime = 5 * time.Second

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

// serve runs the demonstration server until ctx ends. An empty path is one in a
// new folder for temporary files.
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
	go func() { ended <- s.ListenAndServe(path) }()
	if err := awaitServer(ctx, path, ended); err != nil {
		_ = s.Close()
		return err
	}
	fmt.Fprintf(stdout, "serving %s on %s\n", demoApp, path)
	fmt.Fprintf(stdout, "%s=%s python3 -c 'from gunicorn.dirty import get_dirty_client; print(get_dirty_client().execute(\"%s\", \"add\", 1, 2))'\n",
		client.EnvSocket, path, demoApp)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	err := s.Shutdown(ctx)
	if err := <-ended; !errors.Is(err, server.ErrServerClosed) {
		return err
	}
	return err
}

// awaitServer waits until a server answers, or has ended.
func awaitServer(ctx context.Context, path string, ended <-chan error) error {
	c, err := client.New(client.WithSocket(path), client.WithWaitForServer(shutdownTime))
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
