package server

import (
	"context"
	"slices"
	"sync"

	"github.com/gunicorn-go/dirty"
)

// Mux is a [Handler] that calls other handlers, chosen by the app and the action
// of the request. The zero value has no handlers. It may be used concurrently, and
// handlers may be added while it serves.
//
// It answers unknown names as an arbiter does: an unknown app with a
// DirtyNoWorkersAvailableError, an unknown action of a known app with a
// DirtyAppError.
type Mux struct {
	mu    sync.RWMutex
	apps  map[string]*muxApp
	order []string // the apps, as they were added
}

// muxApp has the handlers of an app.
type muxApp struct {
	actions map[string]Handler
	rest    Handler // the actions that have no handler of their own; may be nil
}

// NewMux returns a Mux without handlers.
func NewMux() *Mux { return new(Mux) }

// Handle makes h answer an action of an app, "module:Class" as in gunicorn's
// dirty_apps. It panics if app or action is empty, h is nil, or the action has
// a handler already.
func (m *Mux) Handle(app, action string, h Handler) {
	if action == "" {
		panic("dirty: server.Mux: the action is empty")
	}
	m.add(app, h, func(a *muxApp) {
		if a.actions[action] != nil {
			panic("dirty: server.Mux: action " + action + " of " + app + " has a handler already")
		}
		a.actions[action] = h
	})
}

// HandleApp makes h answer all actions of an app that have no handler of
// their own. It panics if app is empty, h is nil, or the app has such a handler
// already.
func (m *Mux) HandleApp(app string, h Handler) {
	m.add(app, h, func(a *muxApp) {
		if a.rest != nil {
			panic("dirty: server.Mux: app " + app + " has a handler already")
		}
		a.rest = h
	})
}

func (m *Mux) add(app string, h Handler, set func(*muxApp)) {
	if app == "" {
		panic("dirty: server.Mux: the app is empty")
	}
	if h == nil {
		panic("dirty: server.Mux: the handler of " + app + " is nil")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.apps[app]
	if a == nil {
		a = &muxApp{actions: map[string]Handler{}}
		if m.apps == nil {
			m.apps = map[string]*muxApp{}
		}
		m.apps[app] = a
		m.order = append(m.order, app)
	}
	set(a)
}

// Apps returns the apps that have a handler, in the order in which they were
// added.
func (m *Mux) Apps() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Clone(m.order)
}

// ServeDirty calls the handler of the action or else of the app.
func (m *Mux) ServeDirty(ctx context.Context, w *ResponseWriter, r *dirty.Request) error {
	h, known := m.find(r.AppPath, r.Action)
	switch {
	case h != nil:
		return h.ServeDirty(ctx, w, r)
	case known:
		return appError(r, "Unknown action: "+r.Action)
	}
	return unknownApp(r)
}

// Handler returns the handler of an action, or else that of its app, or nil if
// there is neither.
func (m *Mux) Handler(app, action string) Handler {
	h, _ := m.find(app, action)
	return h
}

func (m *Mux) find(app, action string) (h Handler, knownApp bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	a := m.apps[app]
	if a == nil {
		return nil, false
	}
	if h = a.actions[action]; h == nil {
		h = a.rest
	}
	return h, true
}

// findBytes is find for names that lie in a payload. It makes no strings of
// them.
func (m *Mux) findBytes(app, action []byte) Handler {
	m.mu.RLock()
	defer m.mu.RUnlock()
	a := m.apps[string(app)]
	if a == nil {
		return nil
	}
	if h := a.actions[string(action)]; h != nil {
		return h
	}
	return a.rest
}
