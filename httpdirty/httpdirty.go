// Package httpdirty puts HTTP in front of an arbiter of gunicorn's dirty workers:
// a POST with JSON calls an action, and the answer is JSON or, if the action
// streams, Server-Sent Events.
//
//	c, err := client.New(client.WithSocket("/run/app/dirty.sock"))
//	...
//	http.Handle("/call/", http.StripPrefix("/call", httpdirty.Handler(c,
//		httpdirty.Allow("app:LLM", "generate", "embed"),
//	)))
//
// A request is POST /{app}/{action}, such as /app:LLM/generate. Its body is the
// arguments: an array is positional ones, an object is keyword arguments, an empty
// body is none. Whole numbers become int64, others float64.
//
// # Answers
//
// A result is {"result": VALUE}. Bytes are base64 text, as encoding/json writes
// them. A failure is {"error": {"outcome": WORD, "message": TEXT}}. WORD is that of
// [client.Outcome] or one of this package's, and decides the status:
//
//	400  bad_request: the body is not JSON of that form; invalid
//	403  forbidden: the app or action is not one of those allowed, or a page of
//	     another site made a browser send this (see [http.CrossOriginProtection])
//	404  app_not_found, not_found
//	405  the method is not POST
//	413  too_large: the body is larger than the limit
//	499  canceled, if anybody still reads it
//	500  app_error, hook_failed, other
//	502  worker_error, remote_error, bad_reply, lost
//	503  no_workers, pool_timeout, unavailable, closed
//	504  timeout
//
// The text is this package's, unless [WithMessages] lets that of an app through:
// it may hold anything.
//
// # Streams
//
// Each chunk is an event "data: VALUE". The end is "event: end", and a failure after
// the first chunk is "event: error" with the same object as above. From the first chunk
// on, a comment goes out whenever none comes for 15 seconds, so that proxies do not
// close the connection. Before it nothing can go out: only the first chunk or result
// decides the status. When the browser leaves, or takes no event for 30 seconds, the call
// ends, and its action stops with one of its next chunks.
package httpdirty

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
)

const (
	// DefaultMaxBody is the largest body of a request in bytes.
	DefaultMaxBody = 1 << 20

	// DefaultKeepAlive is the time after which a stream without chunks gets a
	// comment.
	DefaultKeepAlive = 15 * time.Second

	// writeTimeout bounds the time to write an event of a stream.
	writeTimeout = 30 * time.Second
)

// Option is an option of [Handler].
type Option func(*handler)

// Allow lets clients call actions of an app; without actions all of them. Nothing is
// allowed that no Allow names.
func Allow(app string, actions ...string) Option {
	return func(h *handler) {
		if h.allowed[app] == nil {
			h.allowed[app] = map[string]bool{}
		}
		if len(actions) == 0 {
			h.allowed[app][anyAction] = true
		}
		for _, action := range actions {
			h.allowed[app][action] = true
		}
	}
}

// anyAction stands for all actions: no path leads to it.
const anyAction = ""

// WithMaxBody bounds the body of a request to n bytes, by default [DefaultMaxBody].
// Less than 1 means the default.
func WithMaxBody(n int64) Option {
	return func(h *handler) {
		if n > 0 {
			h.maxBody = n
		}
	}
}

// WithKeepAlive sets after which time a stream without chunks gets a comment, by
// default [DefaultKeepAlive]. 0 or less means never.
func WithKeepAlive(d time.Duration) Option { return func(h *handler) { h.keepAlive = d } }

// WithMessages lets clients see the messages of errors that apps raise.
func WithMessages() Option { return func(h *handler) { h.messages = true } }

// handler is an [http.Handler] that calls.
type handler struct {
	client    *client.Client
	allowed   map[string]map[string]bool // actions by app
	maxBody   int64
	keepAlive time.Duration
	messages  bool
	origins   *http.CrossOriginProtection
}

// Handler returns a handler that calls what is allowed. It may be used concurrently.
// The client stays the caller's to close.
func Handler(c *client.Client, opts ...Option) http.Handler {
	h := &handler{client: c, allowed: map[string]map[string]bool{}, maxBody: DefaultMaxBody, keepAlive: DefaultKeepAlive,
		origins: http.NewCrossOriginProtection()}
	for _, opt := range opts {
		opt(h)
	}
	return h
}

// ServeHTTP answers a request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	app, action, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case !ok || app == "" || action == "" || !h.allows(app, action):
		writeFailure(w, http.StatusForbidden, failure{"forbidden", "this app or action is not open here"})
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		writeFailure(w, http.StatusMethodNotAllowed, failure{"bad_request", "use POST"})
		return
	case h.origins.Check(r) != nil:
		writeFailure(w, http.StatusForbidden, failure{"forbidden", "a browser sent this for another site"})
		return
	}
	args, err := h.readArguments(w, r)
	if err != nil {
		status, f := http.StatusBadRequest, failure{"bad_request", err.Error()}
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status, f = http.StatusRequestEntityTooLarge, failure{"too_large", "the body is larger than " + strconv.FormatInt(tooLarge.Limit, 10) + " bytes"}
		}
		writeFailure(w, status, f)
		return
	}
	h.call(w, r, app, action, args)
}

func (h *handler) allows(app, action string) bool {
	actions := h.allowed[app]
	return actions[action] || actions[anyAction]
}

// readArguments reads the body.
func (h *handler) readArguments(w http.ResponseWriter, r *http.Request) ([]any, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.maxBody))
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, errors.New("the Content-Type must be application/json")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // a whole number stays one
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, errors.New("the body is not JSON: " + err.Error())
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("the body is more than one JSON value")
	}
	switch v := v.(type) {
	case []any:
		return v, nil
	case map[string]any:
		return []any{client.Kwargs(v)}, nil
	}
	return nil, errors.New("the body must be an array, an object, or empty")
}

// call calls the action and writes its answer.
func (h *handler) call(w http.ResponseWriter, r *http.Request, app, action string, args []any) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s, err := h.client.OpenStream(ctx, app, action, args...)
	if err != nil {
		h.writeError(w, err)
		return
	}
	defer s.Close()
	first, err := s.Recv()
	switch {
	case err != nil && err != io.EOF:
		h.writeError(w, err)
	case s.Single():
		writeJSON(w, http.StatusOK, map[string]any{"result": forJSON(first)})
	default:
		h.stream(ctx, w, s, first, err)
	}
}

// received is what Recv returned.
type received struct {
	value any
	err   error
}

// stream writes the chunks as events.
func (h *handler) stream(ctx context.Context, w http.ResponseWriter, s *client.Stream, first any, err error) {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache")
	header.Set("X-Accel-Buffering", "no") // nginx
	chunks := make(chan received)
	go func() {
		defer close(chunks)
		for next := (received{first, err}); ; next.value, next.err = s.Recv() {
			select {
			case chunks <- next:
			case <-ctx.Done():
				return
			}
			if next.err != nil {
				return
			}
		}
	}()
	control := http.NewResponseController(w)
	var quiet <-chan time.Time
	heard := func() {}
	if h.keepAlive > 0 {
		ticker := time.NewTicker(h.keepAlive)
		defer ticker.Stop()
		quiet, heard = ticker.C, func() { ticker.Reset(h.keepAlive) }
	}
	for {
		var event []byte
		done := false
		select {
		case c, ok := <-chunks:
			if !ok {
				return // the browser has left
			}
			event, done = h.event(c)
			heard()
		case <-quiet:
			event = []byte(": still here\n\n")
		}
		// A browser that does not read must not hold the worker. Not every
		// ResponseWriter has deadlines.
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := w.Write(event); err != nil || control.Flush() != nil || done {
			return
		}
	}
}

// event makes an event of a chunk, or of the end of the stream.
func (h *handler) event(c received) (event []byte, last bool) {
	if c.err == io.EOF {
		return []byte("event: end\ndata: {}\n\n"), true
	}
	if c.err == nil {
		data, err := json.Marshal(forJSON(c.value))
		if err == nil {
			return append(append([]byte("data: "), data...), "\n\n"...), false
		}
		c.err = err
	}
	_, f := h.explain(c.err)
	data, _ := json.Marshal(map[string]failure{"error": f}) // two strings
	return append(append([]byte("event: error\ndata: "), data...), "\n\n"...), true
}

// failure is what clients are told of one.
type failure struct {
	Outcome string `json:"outcome"`
	Message string `json:"message"`
}

// statuses has the status and the text of each word of client.Outcome.
var statuses = map[string]struct {
	code int
	text string
}{
	"app_error":     {http.StatusInternalServerError, "the action failed"},
	"app_not_found": {http.StatusNotFound, "there is no such app"},
	"no_workers":    {http.StatusServiceUnavailable, "no worker has the app"},
	"worker_error":  {http.StatusBadGateway, "the worker failed"},
	"not_found":     {http.StatusNotFound, "there is no such key or table"},
	"remote_error":  {http.StatusBadGateway, "the arbiter told of an error"},
	"timeout":       {http.StatusGatewayTimeout, "the time was up"},
	"pool_timeout":  {http.StatusServiceUnavailable, "no connection became free in time"},
	"canceled":      {statusClientClosed, "the call was cancelled"},
	"closed":        {http.StatusServiceUnavailable, "the service is ending"},
	"unavailable":   {http.StatusServiceUnavailable, "no arbiter could be reached"},
	"lost":          {http.StatusBadGateway, "the connection to the arbiter failed"},
	"bad_reply":     {http.StatusBadGateway, "the arbiter's reply could not be used"},
	"invalid":       {http.StatusBadRequest, "the arguments cannot be sent"},
	"hook_failed":   {http.StatusInternalServerError, "code around the call failed"},
}

// statusClientClosed is nginx's status for a client that has left.
const statusClientClosed = 499

// explain says an error of a call for clients.
func (h *handler) explain(err error) (status int, f failure) {
	word := client.Outcome(err)
	s, ok := statuses[word]
	if !ok {
		s.code, s.text = http.StatusInternalServerError, "the call failed"
	}
	if remote := (*dirty.RemoteError)(nil); h.messages && errors.As(err, &remote) {
		s.text = remote.Message
	}
	return s.code, failure{word, s.text}
}

func (h *handler) writeError(w http.ResponseWriter, err error) {
	status, f := h.explain(err)
	writeFailure(w, status, f)
}

func writeFailure(w http.ResponseWriter, status int, f failure) {
	writeJSON(w, status, map[string]failure{"error": f})
}

// forJSON makes an object of each Dict, which a client with WithDict has.
func forJSON(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = forJSON(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = forJSON(v[key])
		}
	case dirty.Dict:
		return object(v)
	}
	return v
}

// object is a Dict that is an object in JSON, in its order.
type object dirty.Dict

// MarshalJSON writes the object.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, e := range o {
		key, err := json.Marshal(e.Key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(forJSON(e.Value))
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, key...), ':'), value...)
	}
	return append(b, '}'), nil
}

// writeJSON writes an answer. A result that JSON cannot hold, such as NaN, is a
// failure.
func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		status = http.StatusBadGateway
		data, _ = json.Marshal(map[string]failure{"error": {"bad_reply", "the result cannot be written as JSON"}}) // two strings
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // fails if the client has left
}
