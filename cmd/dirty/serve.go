package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// shutdownTime bounds how long serve waits, after a signal to end, for calls
// that are running.
const shutdownTime = 5 * time.Second

// startTime bounds how long a server may take to start. It takes milliseconds, but for
// those of a machine that is very busy.
const startTime = 30 * time.Second

func (c *cli) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "serve",
		Short:   "Run a server to try things with",
		Long:    helpServe,
		Example: "  dirty serve -s /tmp/try.sock\n  dirty serve -o json | jq -r --unbuffered .socket",
		Args:    needArgs(0, 0, "no arguments"),
	}
	c.addFormatFlag(cmd, formatText, formatJSON)
	path := cmd.Flags().StringP("socket", "s", "", "`PATH` of the socket")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := serve(cmd.Context(), *path, c.tellServing, c.logger())
		if err != nil {
			return &statusError{status: exitIO, kind: "io", text: err.Error()}
		}
		return nil
	}
	return cmd
}

// tellServing says where the server listens.
func (c *cli) tellServing(path string) error {
	if c.format == formatJSON {
		return c.printJSONLine(struct {
			App    string `dirty:"app"`
			Socket string `dirty:"socket"`
		}{demoApp, strings.ToValidUTF8(path, "\ufffd")})
	}
	_, err := fmt.Fprintf(c.stdout, "serving %[1]s on %[3]s\n"+
		"%[2]s=%[3]s python3 -c 'from gunicorn.dirty import get_dirty_client; print(get_dirty_client().execute(\"%[1]s\", \"add\", 1, 2))'\n",
		demoApp, client.EnvSocket, path)
	return err
}

// serve runs the demonstration server until ctx ends, and tells where once it answers.
// An empty path stands for one in a new folder for temporary files.
func serve(ctx context.Context, path string, tell func(path string) error, logger *slog.Logger) error {
	if path == "" {
		folder, err := os.MkdirTemp("", "dirty")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		path = filepath.Join(folder, "dirty.sock")
	}
	s := &server.Server{Handler: newDemoMux(func() {}, func() {}), Logger: logger}
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- s.ListenAndServe(path)
	}()
	err := awaitServer(ctx, path, ended)
	if err == nil {
		err = tell(path)
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
