package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// webEndTime bounds the wait for viewers at the end.
const webEndTime = time.Second

// webFlags are the flags of the page.
type webFlags struct {
	addr    string
	exposed bool
}

// webPage is a page that is served.
type webPage struct {
	calls *webCollector
	close func() // ends it and waits for that
}

// startWeb serves the page until it is closed.
func (c *cli) startWeb(ctx context.Context, t target, listen string, flags webFlags, values bool) (*webPage, error) {
	host, _, err := net.SplitHostPort(flags.addr)
	if err != nil {
		return nil, usagef("--web %s: want HOST:PORT, such as localhost:8080", flags.addr)
	}
	path, err := t.resolve(ctx)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", flags.addr)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddrPort(l.Addr().String()); !flags.exposed && (err != nil || !ip.Addr().IsLoopback()) {
		_ = l.Close()
		return nil, usagef("--web %s: other hosts can reach this address and would see every call: use localhost:PORT, or add --web-exposed", flags.addr)
	}
	ctx, cancel := context.WithCancel(ctx)
	page := &webPage{calls: newWebCollector(values)}
	workers := &webWorkers{}
	s := &http.Server{
		Handler:           newWebServer(webAbout{printable(path), printable(listen), values}, host, page.calls, workers),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: webWriteTimeout,
		WriteTimeout:      webWriteTimeout, // a stream of events sets its own
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Serve(l); err != http.ErrServerClosed {
			fmt.Fprintf(c.stderr, "dirty: the page has ended: %s\n", printable(err.Error()))
		}
	})
	running.Go(func() {
		workers.run(ctx, &looker{cli: c, target: t, watch: workerWatch{stuck: webStuck}})
	})
	page.close = func() {
		cancel()
		end, stop := context.WithTimeout(context.Background(), webEndTime)
		defer stop()
		if s.Shutdown(end) != nil {
			_ = s.Close()
		}
		running.Wait()
	}
	fmt.Fprintf(c.stderr, "dirty: the page is at http://%s/\n", l.Addr())
	if flags.exposed {
		fmt.Fprintln(c.stderr, "dirty: whoever reaches this address sees every call; there is no password and no encryption")
	}
	return page, nil
}
