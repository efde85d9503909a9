//go:build unix

package interop

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/dirtytest"
	goserver "github.com/gunicorn-go/dirty/server"
)

// double is the name of package dirtytest among the releases of gunicorn that the
// client is tested with.
const double = "dirtytest"

// differences are those between a real arbiter and dirtytest (and package server) that
// the tests meet. They are on purpose; docs/DIFFERENCES.md explains each.
var differences = []string{"traceback", "Python's messages", "app without a name", "error as a key"}

// differs reports whether this is dirtytest, which differs from gunicorn in this.
func (g *gunicorn) differs(t *testing.T, in string) bool {
	t.Helper()
	require.Contains(t, differences, in)
	return g.release == double
}

// TestDifferences checks that the documentation lists all differences.
func TestDifferences(t *testing.T) {
	text, err := os.ReadFile("../docs/DIFFERENCES.md")
	require.NoError(t, err)
	for _, d := range differences {
		assert.Contains(t, string(text), "| "+d+" |")
	}
}

// eachPeer is eachRelease, and with dirtytest besides.
func eachPeer(t *testing.T, test func(t *testing.T, g *gunicorn)) {
	eachRelease(t, test)
	onDouble(t, test)
}

// eachFreshPeer is eachFresh, and with dirtytest besides.
func eachFreshPeer(t *testing.T, o options, test func(t *testing.T, g *gunicorn)) {
	eachFresh(t, o, test)
	onDouble(t, test)
}

func onDouble(t *testing.T, test func(t *testing.T, g *gunicorn)) {
	t.Run(double, func(t *testing.T) {
		t.Parallel()
		test(t, newDouble(t))
	})
}

// newDouble starts a dirtytest server with the app of app/dirtyapp.py in Go. It does
// one thing at a time, as a single worker does, and an action does not stop when its
// client leaves.
func newDouble(t *testing.T) *gunicorn {
	t.Helper()
	g := &gunicorn{python: python{release: double}}
	g.events.more = make(chan struct{})
	a := &doubleApp{events: &g.events}
	a.server = dirtytest.NewServer(t, a.mux(), dirtytest.WithUnknownCalls(), dirtytest.WithServer(func(s *goserver.Server) {
		s.MaxConcurrent = 1
		s.UseDict = true
	}))
	g.socket = a.server.Socket()
	return g
}

// doubleApp is app/dirtyapp.py in Go, as far as the tests of the client call it.
type doubleApp struct {
	server *dirtytest.Server
	events *events
}

// tell tells the tests of an event.
func (a *doubleApp) tell(what, token string) { a.events.add(what + " " + token) }

// held has the arguments of hold and ticks.
type held struct {
	Token   string  `dirty:"token"`
	Seconds float64 `dirty:"seconds"`
}

func (h held) sleep() { time.Sleep(time.Duration(h.Seconds * float64(time.Second))) }

var errBrokeOff = &dirty.RemoteError{Type: "DirtyAppError", Message: "broke off"}

func (a *doubleApp) mux() *goserver.Mux {
	mux := goserver.NewMux()
	call := func(action string, h goserver.Handler) { mux.Handle(app, action, h) }
	call("echo", goserver.Func(func(_ context.Context, r *dirty.Request) (any, error) {
		return map[string]any{"args": r.Args, "kwargs": append(dirty.Dict{}, r.OrderedKwargs...)}, nil
	}))
	call("identity", goserver.Func(func(_ context.Context, v any) (any, error) { return v, nil }))
	call("value", goserver.Func(func(_ context.Context, _ string) (any, error) {
		return dirty.Dict{{Key: "b", Value: 1}, {Key: "a", Value: dirty.Dict{{Key: "", Value: nil}}}}, nil
	}))
	call("unencodable", goserver.Func(func(context.Context, string) (any, error) { return make(chan int), nil }))
	call("sleep", goserver.Func(func(_ context.Context, seconds float64) (string, error) {
		held{Seconds: seconds}.sleep()
		return "slept", nil
	}))
	call("hold", goserver.Func(func(_ context.Context, h held) (string, error) {
		a.tell("begin", h.Token)
		h.sleep()
		a.tell("end", h.Token)
		return h.Token, nil
	}))
	call("die", goserver.Func(func(context.Context, struct{}) (any, error) { return nil, goserver.ErrAbortHandler }))
	for _, action := range []string{"fail", "fail_own"} {
		call(action, goserver.Func(func(_ context.Context, message string) (any, error) { return nil, errors.New(message) }))
	}
	call("fail_dirty", goserver.Func(func(_ context.Context, message string) (any, error) {
		return nil, errors.New(message + ": {'tray': 2}")
	}))
	call("stash_put_odd_keys", goserver.Func(func(_ context.Context, table string) (any, error) {
		for _, item := range []struct {
			key   any
			value string
		}{{5, "5"}, {"5", "'5'"}, {1.5, "1.5"}, {true, "True"}, {nil, "None"}, {[]byte("b"), "b'b'"}} {
			a.server.Stash().Put(table, item.key, item.value)
		}
		return nil, nil
	}))
	call("stash_put", goserver.Func(func(_ context.Context, arg struct {
		Table string
		Items [][2]any
	}) (any, error) {
		for _, item := range arg.Items {
			a.server.Stash().Put(arg.Table, item[0], item[1])
		}
		return nil, nil
	}))
	call("stash_kinds", goserver.Func(func(_ context.Context, table string) (any, error) {
		kinds := map[string]string{}
		for key, value := range a.server.Stash().Dump(table) {
			kinds[fmt.Sprint(key)] = pythonTypes[reflect.TypeOf(value)]
		}
		return kinds, nil
	}))
	a.streams(func(action string, h goserver.Handler) {
		call(action, h)
		call(action+"_async", h)
	})
	return mux
}

// pythonTypes are Python's names of the types that values decode to.
var pythonTypes = map[reflect.Type]string{
	nil: "NoneType", reflect.TypeFor[bool](): "bool", reflect.TypeFor[int64](): "int", reflect.TypeFor[float64](): "float",
	reflect.TypeFor[[]byte](): "bytes", reflect.TypeFor[string](): "str", reflect.TypeFor[[]any](): "list",
	reflect.TypeFor[map[string]any](): "dict",
}

// streams adds the actions that stream. In Python each has a synchronous and an
// asynchronous form.
func (a *doubleApp) streams(call func(action string, h goserver.Handler)) {
	type counted struct {
		N int `dirty:"n"`
	}
	call("count", goserver.StreamFunc(func(_ context.Context, arg counted) iter.Seq2[int, error] { return count(arg.N, nil) }))
	call("break_off", goserver.StreamFunc(func(_ context.Context, arg counted) iter.Seq2[int, error] {
		return count(arg.N, errBrokeOff)
	}))
	call("chunks", goserver.StreamFunc(func(_ context.Context, values []any) iter.Seq2[any, error] { return sequence(values...) }))
	call("bad_chunk", goserver.StreamFunc(func(context.Context, struct{}) iter.Seq2[any, error] {
		return sequence("good", make(chan int))
	}))
	call("stall", goserver.StreamFunc(func(_ context.Context, seconds float64) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			if yield("before", nil) {
				held{Seconds: seconds}.sleep()
				yield("after", nil)
			}
		}
	}))
	call("blocks", goserver.StreamFunc(func(_ context.Context, arg struct {
		Token       string
		Count, Size int
	}) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			a.tell("begin", arg.Token)
			for range arg.Count {
				if !yield(make([]byte, arg.Size), nil) {
					return
				}
			}
			a.tell("end", arg.Token)
		}
	}))
	call("ticks", goserver.StreamFunc(func(_ context.Context, h held) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			a.tell("begin", h.Token)
			for n := 0; yield(n, nil); n++ {
				h.sleep()
			}
			a.tell("left", h.Token)
			a.tell("over", h.Token)
		}
	}))
}

// count yields n numbers, and then the error if it is not nil.
func count(n int, err error) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		if err != nil {
			yield(0, err)
		}
	}
}

func sequence(values ...any) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		for _, v := range values {
			if !yield(v, nil) {
				return
			}
		}
	}
}
