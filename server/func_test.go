package server_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// back is a handler that answers with its argument.
func back[A any]() server.Handler {
	return server.Func(func(_ context.Context, arg A) (A, error) { return arg, nil })
}

type base struct {
	ID int `json:"id"`
}

// Shared is exported, so it can be embedded by pointer.
type Shared struct {
	Tag  string
	Name string // hidden by the outer one
}

type fields struct {
	Name    string         `dirty:"name,omitempty"`
	Count   int            `json:"n"`
	Skipped string         `dirty:"-"`
	Ratio   float64        // under its own name
	Options map[string]any `json:",omitempty"`
	hidden  string
	Any     any `dirty:"any"`
}

type embedding struct {
	base
	*Shared
	Name string
	Time time.Time `dirty:"time,omitzero"`
	Raw  dirty.RawValue
}

type point struct{ X, Y int }

// kw are keyword arguments.
type kw = map[string]any

// What arguments become, by the type of a function's parameter.
func TestFuncArguments(t *testing.T) {
	_ = fields{}.hidden // takes no argument
	for name, test := range map[string]struct {
		handler server.Handler
		args    []any
		kwargs  kw
		want    any    // the result
		err     string // or the error
	}{
		"struct: none":                {back[fields](), nil, nil, kw{"n": int64(0), "Ratio": 0.0, "any": nil}, ""},
		"struct: positional":          {back[fields](), []any{"x", 2, 1.5, kw{"k": 1}, []any{"y"}}, nil, kw{"name": "x", "n": int64(2), "Ratio": 1.5, "Options": kw{"k": int64(1)}, "any": []any{"y"}}, ""},
		"struct: by name":             {back[fields](), nil, kw{"name": "x", "n": 2, "Ratio": 3, "any": 5}, kw{"name": "x", "n": int64(2), "Ratio": 3.0, "any": int64(5)}, ""},
		"struct: both":                {back[fields](), []any{"x"}, kw{"n": 2.0}, kw{"name": "x", "n": int64(2), "Ratio": 0.0, "any": nil}, ""},
		"struct: by name in any case": {back[fields](), nil, kw{"NAME": "x", "ratio": 2.5}, kw{"name": "x", "n": int64(0), "Ratio": 2.5, "any": nil}, ""},
		"struct: None":                {back[fields](), []any{nil, nil, nil, nil, nil}, nil, kw{"n": int64(0), "Ratio": 0.0, "any": nil}, ""},
		"struct: too many":            {back[fields](), []any{"x", 2, 1.5, nil, nil, "more"}, nil, nil, "do() takes at most 5 positional arguments, but got 6"},
		"struct: unknown":             {back[fields](), nil, kw{"b": 1, "a": 2}, nil, "do() has no argument named 'a'"},
		"struct: left out":            {back[fields](), nil, kw{"Skipped": 1}, nil, "do() has no argument named 'Skipped'"},
		"struct: not exported":        {back[fields](), nil, kw{"hidden": 1}, nil, "do() has no argument named 'hidden'"},
		"struct: twice":               {back[fields](), []any{"x"}, kw{"name": "y"}, nil, "do() got more than one value for argument 'name'"},

		"struct: twice by name":      {back[fields](), nil, kw{"name": "x", "Name": "y"}, nil, "do() got more than one value for argument 'name'"},
		"struct: wrong type":         {back[fields](), []any{5}, nil, nil, "do() cannot take argument 'name': int64 does not fit into string (type mismatch)"},
		"struct: wrong type by name": {back[fields](), nil, kw{"n": 1.5}, nil, "do() cannot take argument 'n': float64 does not fit into int (overflow: it is no whole number in the range of int64)"},
		"struct: wrong inside":       {back[fields](), []any{"x", 1, 1, []any{}}, nil, nil, "do() cannot take argument 'Options': list does not fit into map[string]interface {} (type mismatch)"},
		"embedded":                   {back[embedding](), []any{7, "tag", "name"}, nil, kw{"id": int64(7), "Tag": "tag", "Name": "name", "Raw": nil}, ""},
		"embedded: by name":          {back[embedding](), nil, kw{"id": 7, "Name": "x", "Raw": []any{1}}, kw{"id": int64(7), "Name": "x", "Raw": []any{int64(1)}}, ""},
		"embedded: time":             {back[embedding](), nil, kw{"time": "2026-01-02T03:04:05Z"}, kw{"id": int64(0), "Name": "", "time": "2026-01-02T03:04:05Z", "Raw": nil}, ""},

		"struct{}: none":    {back[struct{}](), nil, nil, kw{}, ""},
		"struct{}: one":     {back[struct{}](), []any{nil}, nil, nil, "do() takes no positional arguments, but got 1"},
		"struct{}: keyword": {back[struct{}](), nil, kw{"x": 1}, nil, "do() has no argument named 'x'"},

		"string":          {back[string](), []any{"x"}, nil, "x", ""},
		"string: none":    {back[string](), nil, nil, nil, "do() takes 1 positional argument, but got none"},
		"string: two":     {back[string](), []any{"x", "y"}, nil, nil, "do() takes 1 positional argument, but got 2"},
		"string: keyword": {back[string](), nil, kw{"b": 1, "a": 1}, nil, "do() takes no keyword arguments, but got 'a'"},
		"string: wrong":   {back[string](), []any{[]byte("x")}, nil, nil, "do() cannot take its argument: bytes does not fit into string (type mismatch)"},
		"string: None":    {back[string](), []any{nil}, nil, "", ""},
		"int":             {back[int](), []any{5}, nil, int64(5), ""},
		"int8: overflow":  {back[int8](), []any{500}, nil, nil, "do() cannot take its argument: int64 does not fit into int8 (overflow)"},
		"uint: float":     {back[uint](), []any{5.0}, nil, int64(5), ""},
		"float":           {back[float64](), []any{5}, nil, 5.0, ""},
		"slice":           {back[[]int](), []any{[]any{1, 2.0}}, nil, []any{int64(1), int64(2)}, ""},
		"slice: wrong":    {back[[]int](), []any{[]any{1, "x"}}, nil, nil, "do() cannot take its argument: string at [1] does not fit into int (type mismatch)"},
		"bytes":           {back[[]byte](), []any{[]byte("x")}, nil, []byte("x"), ""},
		"map":             {back[map[string]int](), []any{kw{"x": 1}}, nil, kw{"x": int64(1)}, ""},
		"any":             {back[any](), []any{kw{"x": []any{1}}}, nil, kw{"x": []any{int64(1)}}, ""},
		"any: None":       {back[any](), []any{nil}, nil, nil, ""},
		"any: none":       {back[any](), nil, nil, nil, "do() takes 1 positional argument, but got none"},
		"pointer: dict":   {back[*point](), []any{kw{"X": 1, "Y": 2}}, nil, kw{"X": int64(1), "Y": int64(2)}, ""},
		"pointer: None":   {back[*point](), []any{nil}, nil, nil, ""},
		"pointer: list":   {back[*point](), []any{[]any{1, 2}}, nil, nil, "do() cannot take its argument: list does not fit into server_test.point (type mismatch)"},
		"pointer: int":    {back[*int](), []any{5}, nil, int64(5), ""},
		"time":            {back[time.Time](), []any{"2026-01-02T03:04:05Z"}, nil, "2026-01-02T03:04:05Z", ""},
		"raw":             {back[dirty.RawValue](), []any{[]any{1}}, nil, []any{int64(1)}, ""},
		"deep":            {back[any](), []any{nested(800)}, nil, nested(800), ""},
		"special float":   {back[float64](), []any{math.Inf(-1)}, nil, math.Inf(-1), ""},
		"interface":       {back[error](), []any{"x"}, nil, nil, "do() cannot take its argument: string does not fit into error (type mismatch)"},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, &server.Server{Handler: test.handler})
			got := ask(t, c, dirty.NewRequest(1, app, "do", test.args, test.kwargs))
			if test.err != "" {
				assert.Equal(t, &dirty.RemoteError{Type: "DirtyAppError", Message: test.err,
					Details: map[string]any{"app_path": app, "action": "do"}}, failed(t, got))
				usable(t, c)
				return
			}
			assert.Equal(t, dirty.NewResponse(1, test.want), got)
		})
	}
}

// TestFuncRequiredArguments checks fields with the option required.
func TestFuncRequiredArguments(t *testing.T) {
	type inner struct {
		Deep int `dirty:"deep,required"`
	}
	type args struct {
		First  string `dirty:"first,required"`
		Second *int   `dirty:"second,required"`
		inner
		Option int `dirty:"option,omitempty"`
	}
	var calls atomic.Int64
	path := start(t, &server.Server{Handler: server.Func(func(_ context.Context, a args) (any, error) {
		calls.Add(1)
		return []any{a.First, a.Second, a.Deep, a.Option}, nil
	})})
	for name, test := range map[string]struct {
		args   []any
		kwargs kw
		want   any
		err    string
	}{
		"all, positional":      {[]any{"x", 1, 2, 3}, nil, []any{"x", int64(1), int64(2), int64(3)}, ""},
		"all, by name":         {nil, kw{"first": "x", "Second": 1, "DEEP": 2}, []any{"x", int64(1), int64(2), int64(0)}, ""},
		"both":                 {[]any{"x"}, kw{"second": 1, "deep": 2, "option": 3}, []any{"x", int64(1), int64(2), int64(3)}, ""},
		"None is given":        {[]any{nil, nil, nil}, nil, []any{"", nil, int64(0), int64(0)}, ""},
		"none at all":          {nil, nil, nil, "do() is missing the required argument 'first'"},
		"only an optional one": {nil, kw{"option": 1}, nil, "do() is missing the required argument 'first'"},
		"one of two":           {[]any{"x"}, nil, nil, "do() is missing the required argument 'second'"},
		"an embedded one":      {[]any{"x", 1}, nil, nil, "do() is missing the required argument 'deep'"},
	} {
		t.Run(name, func(t *testing.T) {
			before := calls.Load()
			got := ask(t, dial(t, path), dirty.NewRequest(1, app, "do", test.args, test.kwargs))
			if test.err == "" {
				assert.Equal(t, dirty.NewResponse(1, test.want), got)
				return
			}
			assert.Equal(t, test.err, failed(t, got).Message)
			assert.Equal(t, before, calls.Load(), "it is not called")
		})
	}
}

// TestRawArgs checks who gets arguments that are still encoded: typed handlers
// that the server reaches by itself, and with RawArgs all.
func TestRawArgs(t *testing.T) {
	raw := func(v any) bool { _, is := v.(dirty.RawValue); return is }
	var seen atomic.Value // what middleware saw
	look := func(next server.Handler) server.Handler {
		return server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			seen.Store(raw(r.Args[0]) && raw(r.Kwargs["k"]))
			return next.ServeDirty(ctx, w, r)
		})
	}
	plain := server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		return w.Respond([]any{raw(r.Args[0]), raw(r.Kwargs["k"])})
	})
	typed := server.Func(func(_ context.Context, a struct {
		A point
		K []int `dirty:"k"`
	}) (any, error) {
		return []any{a.A.X, a.K[1]}, nil
	})
	whole := server.Func(func(_ context.Context, r *dirty.Request) (any, error) {
		return []any{raw(r.Args[0]), raw(r.Kwargs["k"])}, nil
	})
	change := func(next server.Handler) server.Handler { // some raw, some not, some new
		return server.HandlerFunc(func(ctx context.Context, w *server.ResponseWriter, r *dirty.Request) error {
			r.Args[0] = point{X: 7}
			return next.ServeDirty(ctx, w, r)
		})
	}
	inner := server.NewMux()
	inner.HandleApp(app, typed)
	for name, test := range map[string]struct {
		h       server.Handler
		want    any // of a plain server
		wantRaw any // with RawArgs
	}{
		"plain":                     {plain, []any{false, false}, []any{true, true}},
		"the whole request":         {whole, []any{false, false}, []any{true, true}},
		"typed":                     {typed, []any{int64(1), int64(3)}, []any{int64(1), int64(3)}},
		"typed, behind a Mux":       {inner, []any{int64(1), int64(3)}, []any{int64(1), int64(3)}},
		"typed, behind middleware":  {look(typed), []any{int64(1), int64(3)}, []any{int64(1), int64(3)}},
		"typed, behind a change":    {change(typed), []any{int64(7), int64(3)}, []any{int64(7), int64(3)}},
		"typed, middleware and Mux": {server.Chain(inner, look, change), []any{int64(7), int64(3)}, []any{int64(7), int64(3)}},
	} {
		mux := server.NewMux()
		mux.HandleApp(app, test.h)
		for through, h := range map[string]server.Handler{"directly": test.h, "through a Mux": mux} {
			for rawArgs, want := range map[bool]any{false: test.want, true: test.wantRaw} {
				t.Run(fmt.Sprintf("%s, %s, RawArgs %v", name, through, rawArgs), func(t *testing.T) {
					seen.Store(rawArgs)
					c := connect(t, &server.Server{Handler: h, RawArgs: rawArgs})
					got := ask(t, c, dirty.NewRequest(1, app, "do", []any{point{1, 2}}, kw{"k": []int{2, 3}}))
					assert.Equal(t, dirty.NewResponse(1, want), got)
					assert.Equal(t, rawArgs, seen.Load())
				})
			}
		}
	}
}

// TestTypedHandlersOfDoubledNames checks requests that name their app or action
// twice: the last name counts, and no handler gets what is for another kind.
func TestTypedHandlersOfDoubledNames(t *testing.T) {
	mux := server.NewMux()
	mux.Handle(app, "typed", server.Func(func(_ context.Context, n int) (any, error) { return n + 1, nil }))
	mux.Handle(app, "plain", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, r *dirty.Request) error {
		return w.Respond(r.Args[0].(int64) + 2)
	}))
	c := connect(t, &server.Server{Handler: mux})
	for _, test := range []struct {
		actions [2]string
		want    any
	}{
		{[2]string{"typed", "plain"}, int64(12)},
		{[2]string{"plain", "typed"}, int64(11)},
		{[2]string{"typed", "typed"}, int64(11)},
	} {
		b := dirty.AppendDictHeader(nil, 4)
		b = dirty.AppendString(dirty.AppendString(b, "app_path"), app)
		b = dirty.AppendString(dirty.AppendString(b, "action"), test.actions[0])
		b = dirty.AppendInt64(dirty.AppendListHeader(dirty.AppendString(b, "args"), 1), 10)
		b = dirty.AppendString(dirty.AppendString(b, "action"), test.actions[1])
		_, err := c.NetConn().Write(frame(dirty.TypeRequest, 1, b))
		require.NoError(t, err)
		assert.Equal(t, dirty.NewResponse(1, test.want), receive(t, c), "%v", test.actions)
	}
}

// TestFuncAfterOthers checks that what a connection keeps for typed functions from one
// request to the next belongs to none of the other requests.
func TestFuncAfterOthers(t *testing.T) {
	var kept *server.ResponseWriter
	var err error
	mux := server.NewMux()
	mux.Handle(app, "keep", server.HandlerFunc(func(_ context.Context, w *server.ResponseWriter, _ *dirty.Request) error {
		kept = w
		return w.Respond("kept")
	}))
	mux.Handle(app, "use", server.Func(func(_ context.Context, text string) (string, error) {
		err = kept.Respond("of another request")
		return text, nil
	}))
	mux.HandleApp(app, back[string]())
	mux.HandleApp("other:App", back[string]())
	c := connect(t, &server.Server{Handler: mux})

	assert.Equal(t, dirty.NewResponse(1, "x"), call(t, c, "do", "x"))
	assert.Equal(t, dirty.NewResponse(1, "kept"), call(t, c, "keep"))
	assert.Equal(t, dirty.NewResponse(1, "y"), call(t, c, "use", "y"))
	assert.ErrorIs(t, err, server.ErrReplied, "the handler of that ResponseWriter has returned")

	for _, name := range []string{"do", "go", "do"} {
		assert.Contains(t, failed(t, call(t, c, name)).Message, name+"() takes 1 positional argument")
	}
	reply := failed(t, ask(t, c, dirty.NewRequest(1, "other:App", "do", nil, nil)))
	assert.Equal(t, "other:App", reply.Details["app_path"])
}

// TestFuncKeepsNoLongNames checks that a connection does not keep the name of an action
// that somebody has made large.
func TestFuncKeepsNoLongNames(t *testing.T) {
	const size, conns = 1 << 20, 20
	path := start(t, &server.Server{Handler: back[int]()})
	before := memory()
	for range conns {
		c := dial(t, path)
		assert.Equal(t, dirty.NewResponse(1, int64(5)), call(t, c, strings.Repeat("x", size), 5))
	}
	assert.Less(t, memory()-before, int64(conns*size/2))
}

// nested returns lists inside each other.
func nested(depth int) any {
	v := []any{}
	for range depth - 1 {
		v = []any{v}
	}
	return v
}

// Arguments deeper than what is encoded can still be given to typed functions.
func TestFuncDeepArgument(t *testing.T) {
	c := connect(t, &server.Server{Handler: server.Func(func(_ context.Context, _ *[]any) (string, error) { return "ok", nil })})
	b, err := dirty.EncodeOptions{Limits: dirty.Limits{MaxDepth: 1000}}.AppendMessage(nil,
		dirty.NewRequest(1, app, "do", []any{nested(998)}, nil))
	require.NoError(t, err)
	_, err = c.NetConn().Write(b)
	require.NoError(t, err)
	assert.Equal(t, dirty.NewResponse(1, "ok"), receive(t, c))
}

func TestFuncRequest(t *testing.T) {
	c := connect(t, &server.Server{Handler: server.Func(func(_ context.Context, r *dirty.Request) ([]any, error) {
		return []any{r.AppPath, r.Action, r.Args, r.Kwargs}, nil
	})})
	got := ask(t, c, dirty.NewRequest(1, app, "do", []any{1}, kw{"k": 2}))
	assert.Equal(t, dirty.NewResponse(1, []any{app, "do", []any{int64(1)}, kw{"k": int64(2)}}), got)
}

func TestFuncWithOrderedArguments(t *testing.T) {
	c := connect(t, &server.Server{UseDict: true, Handler: server.Func(func(_ context.Context, a struct {
		D dirty.Dict
		M map[string]any
		A any
	}) ([]any, error) {
		_, isDict := a.A.(dirty.Dict)
		return []any{a.D[0].Key, a.M["x"], isDict}, nil
	})})
	d := dirty.Dict{{Key: "z", Value: 1}, {Key: "a", Value: 2}}
	got := ask(t, c, &dirty.Request{ID: 1, AppPath: app, Action: "do", Args: []any{d},
		OrderedKwargs: dirty.Dict{{Key: "m", Value: dirty.Dict{{Key: "x", Value: 5}}}, {Key: "a", Value: d}}})
	assert.Equal(t, dirty.NewResponse(1, []any{"z", int64(5), true}), got)
}

func TestFuncErrors(t *testing.T) {
	c := connect(t, &server.Server{Handler: server.Func(func(_ context.Context, what string) (any, error) {
		if what == "remote" {
			return nil, &dirty.RemoteError{Type: "DirtyWorkerError", Message: "gone"}
		}
		return nil, errBoom
	})})
	assert.Equal(t, "boom", failed(t, call(t, c, "do", "fail")).Message)
	assert.ErrorIs(t, failed(t, call(t, c, "do", "remote")), dirty.ErrWorker)
}

// TestFuncOfOddStructs checks that Func sees structs as the codec does: what one
// can decode the other can, and neither panics.
func TestFuncOfOddStructs(t *testing.T) {
	type secret struct{ X int }
	type recursive struct{ *Recursive }
	type twice struct {
		A int `dirty:"x"`
		B int `json:"x"`
	}
	type hidden struct{ *secret }
	type visible struct{ secret }
	type dash struct {
		A int `dirty:"-,"`
	}
	for name, test := range map[string]struct {
		handler server.Handler
		dst     any    // the same for the codec
		keyword string // that is tried
		err     string
	}{
		"two fields of one name":     {back[twice](), new(twice), "x", "do() has no argument named 'x'"},
		"a hidden pointer":           {back[hidden](), new(hidden), "X", "do() cannot take argument 'X'"},
		"a hidden struct":            {back[visible](), new(visible), "X", ""},
		"a struct inside of itself":  {back[recursive](), new(recursive), "x", "do() has no argument named 'x'"},
		"a field with the name dash": {back[dash](), new(dash), "-", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, &server.Server{Handler: test.handler})
			got := ask(t, c, dirty.NewRequest(1, app, "do", nil, kw{test.keyword: 5}))
			codec := dirty.DecodeOptions{DisallowUnknownFields: true}.Unmarshal(encoded(kw{test.keyword: 5}), test.dst)
			if test.err != "" {
				assert.Contains(t, failed(t, got).Message, test.err)
				assert.Error(t, codec)
				return
			}
			assert.Equal(t, dirty.NewResponse(1, kw{test.keyword: int64(5)}), got)
			assert.NoError(t, codec)
		})
	}
}

// Recursive cannot be flattened.
type Recursive struct{ *Recursive }

// counting yields the numbers up to n, then an error if there is one.
func counting(err error) func(context.Context, int) iter.Seq2[int, error] {
	return func(_ context.Context, n int) iter.Seq2[int, error] {
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
}

func TestStreamFunc(t *testing.T) {
	mux := server.NewMux()
	mux.Handle(app, "count", server.StreamFunc(counting(nil)))
	mux.Handle(app, "fail", server.StreamFunc(counting(errBoom)))
	mux.Handle(app, "nothing", server.StreamFunc(func(context.Context, struct{}) iter.Seq2[any, error] {
		return func(func(any, error) bool) {}
	}))
	mux.Handle(app, "unsendable", server.StreamFunc(func(context.Context, struct{}) iter.Seq2[any, error] {
		return func(yield func(any, error) bool) {
			assert.False(t, yield(func() {}, nil))
		}
	}))
	mux.Handle(app, "nil", server.StreamFunc(func(context.Context, struct{}) iter.Seq2[any, error] { return nil }))
	c := connect(t, &server.Server{Handler: mux})
	stream := func(action string, args ...any) (chunks []any, end dirty.Message) {
		require.NoError(t, c.WriteMessage(dirty.NewRequest(1, app, action, args, nil)))
		for {
			m := receive(t, c)
			chunk, ok := m.(*dirty.Chunk)
			if !ok {
				return chunks, m
			}
			chunks = append(chunks, chunk.Data)
		}
	}
	chunks, end := stream("count", 3)
	assert.Equal(t, []any{int64(0), int64(1), int64(2)}, chunks)
	assert.Equal(t, dirty.NewEnd(1), end)

	chunks, end = stream("fail", 2)
	assert.Len(t, chunks, 2)
	assert.Equal(t, "boom", failed(t, end).Message)

	for _, action := range []string{"nothing", "nil"} {
		chunks, end = stream(action)
		assert.Empty(t, chunks)
		assert.Equal(t, dirty.NewEnd(1), end, "END, not None")
	}

	_, end = stream("unsendable")
	assert.ErrorContains(t, failed(t, end), "unsupported type")
	_, end = stream("count")
	assert.Equal(t, "count() takes 1 positional argument, but got none", failed(t, end).Message)
	usable(t, c)
}

// A producer that goes on for ever stops when its client has left.
func TestEndlessStream(t *testing.T) {
	stopped := make(chan error, 1)
	path := start(t, &server.Server{Handler: server.StreamFunc(func(ctx context.Context, _ struct{}) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for yield("token", nil) {
			}
			stopped <- context.Cause(ctx)
		}
	})})
	c := newClient(t, path)
	for chunk, err := range c.Stream(ctx, app, "do") {
		require.NoError(t, err)
		require.Equal(t, "token", chunk)
		break
	}
	assert.True(t, errors.Is(wait(t, "the producer", stopped), server.ErrClientGone))
}
