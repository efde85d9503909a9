package dirtytest

import "github.com/gunicorn-go/dirty"

// Match chooses requests: it returns true for those that it is for. It must allow
// concurrent calls.
type Match func(r Request) bool

// MatchAny matches every request.
func MatchAny(Request) bool { return true }

// MatchCall matches calls and streams of an app and an action. "" stands for any.
func MatchCall(app, action string) Match {
	return func(r Request) bool {
		m, ok := r.Message.(*dirty.Request)
		return ok && (app == "" || m.AppPath == app) && (action == "" || m.Action == action)
	}
}

// MatchStash matches these stash operations. Without arguments it matches all.
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

// MatchType matches requests of a type, such as [dirty.TypeStatus].
func MatchType(t dirty.MessageType) Match {
	return func(r Request) bool { return r.Type == t }
}
