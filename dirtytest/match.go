package dirtytest

import "github.com/gunicorn-go/dirty"

// Match chooses requests. It may be called concurrently.
type Match func(r Request) bool

// Any matches every message.
func Any(Request) bool { return true }

// Call matches execute and stream requests of an app and an action; "" is any.
func Call(app, action string) Match {
	return func(r Request) bool {
		m, ok := r.Message.(*dirty.Request)
		return ok && (app == "" || m.AppPath == app) && (action == "" || m.Action == action)
	}
}

// StashOp matches stash operations of these kinds; none is any.
func StashOp(ops ...dirty.StashOp) Match {
	return func(r Request) bool {
		m, ok := r.Message.(*dirty.Stash)
		if !ok || len(ops) == 0 {
			return ok
		}
		for _, op := range ops {
			if m.Op == op {
				return true
			}
		}
		return false
	}
}

// Type matches messages of a type, such as [dirty.TypeStatus].
func Type(t dirty.MessageType) Match {
	return func(r Request) bool { return r.Type == t }
}
