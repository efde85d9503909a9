package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

//go:embed web
var webFiles embed.FS

const (
	webPause        = 500 * time.Millisecond // between two updates
	webWriteTimeout = 10 * time.Second       // bounds the time to write one
	maxWebViewers   = 32                     // more are refused
)

// webPolicy lets the page load nothing but its own files, run no code of any other
// kind, and turn no text into elements.
const webPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// webServer serves the page and what it shows. A viewer has no queue: each update is
// made of what is remembered when it is due. So a slow viewer gets fewer of them, and
// holds up nobody.
type webServer struct {
	about   webAbout
	host    string // the host that the page was asked to listen on; may be empty
	calls   *webCollector
	workers *webWorkers
	viewers chan struct{} // has a value for each of them
	mux     *http.ServeMux
}

// webAbout is what a viewer is told first.
type webAbout struct {
	Arbiter string `json:"arbiter"` // the path of its socket
	Listen  string `json:"listen"`  // where clients connect
	Values  bool   `json:"values"`  // values are shown
}

// webEvent is what a viewer is told again and again.
type webEvent struct {
	About *webAbout `json:"about,omitempty"` // in the first one
	webUpdate
	Arbiter webArbiter `json:"arbiter"`
}

func newWebServer(about webAbout, host string, calls *webCollector, workers *webWorkers) *webServer {
	s := &webServer{about: about, host: host, calls: calls, workers: workers,
		viewers: make(chan struct{}, maxWebViewers), mux: http.NewServeMux()}
	files, err := fs.Sub(webFiles, "web")
	if err != nil {
		panic(err) // the folder is embedded
	}
	s.mux.Handle("/", http.FileServerFS(files))
	s.mux.HandleFunc("/events", s.serveEvents)
	s.mux.HandleFunc("/calls/{id}", s.serveCall)
	return s
}

// ServeHTTP answers those that may ask.
func (s *webServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", webPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	switch {
	case !s.knowsHost(r.Host):
		http.Error(w, "Open the page by a number such as 127.0.0.1, as localhost, or by the host of --web.", http.StatusMisdirectedRequest)
	case r.Method != http.MethodGet:
		h.Set("Allow", http.MethodGet)
		http.Error(w, "Use GET.", http.StatusMethodNotAllowed)
	case r.URL.Path != "/" && !sameSite(r):
		http.Error(w, "Another site has sent this.", http.StatusForbidden)
	default:
		s.mux.ServeHTTP(w, r)
	}
}

// knowsHost reports whether a Host header may name this page. Another site can make its
// own name lead to this address, and its scripts could then read this page. It cannot do
// that with an IP address.
func (s *webServer) knowsHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return strings.EqualFold(host, "localhost") || s.host != "" && strings.EqualFold(host, s.host)
}

// sameSite reports whether this page, or a person, has sent a request. Old browsers do
// not tell; their requests are answered.
func sameSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return false
}

// serveEvents tells a viewer what is new, as Server-Sent Events, until it leaves.
func (s *webServer) serveEvents(w http.ResponseWriter, r *http.Request) {
	select {
	case s.viewers <- struct{}{}:
		defer func() { <-s.viewers }()
	default:
		http.Error(w, fmt.Sprintf("%d pages are open already.", maxWebViewers), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	ticker := time.NewTicker(webPause)
	defer ticker.Stop()
	e := webEvent{About: &s.about}
	for cursor := (webCursor{}); ; e.About = nil {
		e.webUpdate, cursor = s.calls.update(cursor)
		e.Arbiter = s.workers.view()
		data, err := json.Marshal(e)
		if err != nil {
			panic(err) // it holds numbers and strings
		}
		if control.SetWriteDeadline(time.Now().Add(webWriteTimeout)) != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "retry: 1000\ndata: %s\n\n", data); err != nil || control.Flush() != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

// serveCall returns a call with its frames.
func (s *webServer) serveCall(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	details, ok := s.calls.details(id)
	if err != nil || !ok {
		http.Error(w, "This call is no longer remembered.", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(details) // fails if the viewer has left
}
