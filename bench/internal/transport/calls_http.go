package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
)

const serveHTTP = "net/http"

func init() { services[serveHTTP] = serveWithHTTP }

// httpMessage is the body of a request and of its response.
type httpMessage struct {
	Text string `json:"text"`
}

func serveWithHTTP(_ job, l net.Listener) error {
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m httpMessage
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(m) // the client sees if it is missing
	}))
}

// openHTTP posts JSON.
func openHTTP(p *peers, conns int) (func(int, string) error, *peer, error) {
	far, err := p.start(job{Serve: serveHTTP})
	if err != nil {
		return nil, nil, err
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", far.path)
		},
		MaxConnsPerHost:     conns,
		MaxIdleConnsPerHost: conns,
	}
	p.closers = append(p.closers, closerFunc(transport.CloseIdleConnections))
	c := &http.Client{Transport: transport}
	return func(_ int, text string) error {
		body, err := json.Marshal(httpMessage{text})
		if err != nil {
			return err
		}
		response, err := c.Post("http://bench/echo", "application/json", bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", response.Status)
		}
		var m httpMessage
		if err := json.NewDecoder(response.Body).Decode(&m); err != nil {
			return err
		}
		if m.Text != text {
			return errOtherText
		}
		_, err = io.Copy(io.Discard, response.Body) // or the connection is not used again
		return err
	}, far, nil
}

// closerFunc is a function that closes something and cannot fail.
type closerFunc func()

// Close calls the function.
func (f closerFunc) Close() error {
	f()
	return nil
}
