package dirtytest

import "github.com/gunicorn-go/dirty"

// Match chooses requests. It may be called concurrently.
type Match func(r Request) bool

// MatchAny matches every message.
func MatchAny(Request) bool { return true }

// MatchCall matches execute and stream requests of an app and an action; "" is any.
func MatchCall(app, action string) Match {
	return func(r Request) bool {
		m, ok := r.Message.(*dirty.Request)
		return ok && (app == "" || m.AppPath == app) && (action == "" || m.Action == action)
	}
}

// MatchStash matches stash operations of these kinds; none is any.
func MatchStash(ops ...dirty.StashOp) Match {
	return func(r Request) bool {
		m, ok := r.Message.(*dirty.StashRequest)
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

// MatchType matches messages of a type, such as [dirty.TypeStatus].
func MatchType(t dirty.MessageType) Match {
	return func(r Request) bool { return r.Type == t }
}
