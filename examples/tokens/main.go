// Command tokens is a web page that shows the tokens of a model while it makes them.
//
//	go run .                              with a stand-in for the model, written in Go
//	go run . -socket /run/app/dirty.sock  with app:LLM of a gunicorn
//
// The browser posts to package httpdirty and reads Server-Sent Events. When its user
// presses Stop, or leaves, the model stops.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/httpdirty"
	"github.com/gunicorn-go/dirty/server"
)

//go:embed page
var pageFiles embed.FS

// policy lets the page load nothing but its own files.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

func main() {
	listen := flag.String("listen", "localhost:8000", "the `address` of the page")
	socket := flag.String("socket", "", "the `path` of an arbiter's socket; without it a stand-in for the model is started")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *socket, log.Printf); err != nil {
		log.Fatal(err)
	}
}

// run serves the page until ctx ends.
func run(ctx context.Context, listen, socket string, logf func(format string, args ...any)) error {
	if socket == "" {
		folder, err := os.MkdirTemp("", "tokens")
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		socket = filepath.Join(folder, "dirty.sock")
		model := &server.Server{Handler: newModel()}
		l, err := model.Listen(socket)
		if err != nil {
			return err
		}
		defer model.Close()
		go func() { _ = model.Serve(l) }() // until Close
	}
	c, err := client.New(client.WithSocket(socket))
	if err != nil {
		return err
	}
	defer c.Close()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	logf("open http://%s", l.Addr())
	s := &http.Server{Handler: newHandler(c), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("the page: %w", err)
	}
	return nil
}

// newHandler serves the page, and calls of the one action that it makes.
func newHandler(c *client.Client) http.Handler {
	page, err := fs.Sub(pageFiles, "page")
	if err != nil {
		panic(err) // the folder is embedded
	}
	files := http.FileServerFS(page)
	mux := http.NewServeMux()
	mux.Handle("/call/", http.StripPrefix("/call", httpdirty.Handler(c, httpdirty.Allow(appName, actionName))))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		files.ServeHTTP(w, r)
	})
	return mux
}
