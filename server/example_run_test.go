package server_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/server"
)

// pong is an action for examples.
func pong(context.Context, struct{}) (string, error) { return "pong", nil }

// clientOf serves on a socket of its own, and returns a client for it.
func clientOf(s *server.Server) (c *client.Client, stop func()) {
	folder, err := os.MkdirTemp("", "d")
	if err != nil {
		log.Fatal(err)
	}
	l, err := s.Listen(filepath.Join(folder, "dirty.sock"))
	if err != nil {
		log.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	if c, err = client.New(client.WithSocket(l.Addr().String())); err != nil {
		log.Fatal(err)
	}
	return c, func() {
		_ = c.Close()
		_ = s.Close()
		_ = os.RemoveAll(folder)
	}
}

// A main function. After a signal, calls that are under way end before it returns.
func ExampleServer_Run() {
	mux := server.NewMux()
	mux.Handle("app:App", "ping", server.Func(pong))
	s := &server.Server{Handler: mux, DrainTimeout: 10 * time.Second}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.Run(ctx, "/run/app/dirty.sock"); err != nil {
		log.Fatal(err)
	}
}

// A signal ends the server, which waits for the calls that are under way. This is what
// Run does, for programs that do more at their end.
func ExampleServer_Shutdown() {
	signalled, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	folder, err := os.MkdirTemp("", "d")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	started := make(chan struct{})
	s := &server.Server{Handler: server.Func(func(context.Context, struct{}) (string, error) {
		close(started)
		<-signalled.Done() // it takes until after the signal
		return "done all the same", nil
	})}
	l, err := s.Listen(filepath.Join(folder, "dirty.sock"))
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()

	answered := make(chan struct{})
	go func() { // a client
		defer close(answered)
		c, err := client.New(client.WithSocket(l.Addr().String()))
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		fmt.Println(c.Execute(context.Background(), "app:App", "work"))
	}()
	<-started
	stop() // in the place of a signal: both end the context
	<-signalled.Done()

	drain, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err = s.Shutdown(drain)
	<-answered
	fmt.Println(err)
	fmt.Println(<-served)
	// Output:
	// done all the same <nil>
	// <nil>
	// dirty: the server is closed
}

// With a .socket unit systemd makes the socket, and keeps it while the service
// restarts. Without one the program makes its own.
func ExampleSystemdListeners() {
	mux := server.NewMux()
	mux.Handle("app:App", "ping", server.Func(pong))
	s := &server.Server{Handler: mux}

	listeners, err := server.SystemdListeners()
	if err != nil {
		log.Fatal(err)
	}
	if len(listeners) == 0 {
		log.Fatal(s.ListenAndServe("/run/app/dirty.sock"))
	}
	log.Fatal(s.Serve(listeners[0]))
}

// Numbers for a page of one's own, or for metrics.
func ExampleServer_Stats() {
	mux := server.NewMux()
	mux.Handle("app:App", "ping", server.Func(pong))
	s := &server.Server{Handler: mux}
	c, stop := clientOf(s)
	defer stop()

	ctx := context.Background()
	_, _ = c.Execute(ctx, "app:App", "ping")
	_, _ = c.Execute(ctx, "app:App", "no such action")
	stats := s.Stats()
	fmt.Println(stats.Conns, "connection,", stats.Requests, "requests,", stats.Errors, "error")
	// Output:
	// 1 connection, 2 requests, 1 error
}
