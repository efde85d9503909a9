package usercode_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty/internal/usercode"
	"github.com/gunicorn-go/dirty/internal/usercodetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// plain is a Trier that adds nothing but notes what it is told.
type plain struct{ told []*usercode.Failure }

func (p *plain) Try(what string, f func() error) error {
	return usercode.Try(what, func(f *usercode.Failure) { p.told = append(p.told, f) }, f)
}

// badText is a value whose String does what fail does.
type badText struct{ fail func() }

func (v badText) String() string { v.fail(); return "text" }

func boom() { panic("boom") }

// outcomes are what code may do, and the text that its error begins with.
var outcomes = map[string]struct {
	code func() error
	want string // "" for no error
	exit bool   // it ends its goroutine
}{
	"success":                       {code: func() error { return nil }},
	"an error":                      {code: func() error { return io.EOF }, want: "EOF"},
	"a panic":                       {code: func() error { boom(); return nil }, want: "it panicked: boom"},
	"a panic with nil":              {code: func() error { panic(nil) }, want: "it panicked: panic called with nil argument"},
	"a runtime error":               {code: func() error { none := 0; _ = 1 / none; return nil }, want: "it panicked: runtime error: integer divide by zero"},
	"an error panicked":             {code: func() error { panic(io.EOF) }, want: "it panicked: EOF"},
	"a panic whose text panics":     {code: func() error { panic(badText{boom}) }, want: "it panicked: %!v(PANIC=String method: boom)"},
	"a panic with a typed nil":      {code: func() error { panic((*usercodetest.NilError)(nil)) }, want: "it panicked: <nil>"},
	"a panic in a panic":            {code: func() error { defer boom(); panic("first") }, want: "it panicked: boom"},
	"Goexit":                        {code: func() error { runtime.Goexit(); return nil }, want: "it called runtime.Goexit", exit: true},
	"Goexit in a panic":             {code: func() error { defer runtime.Goexit(); panic("first") }, want: "it called runtime.Goexit", exit: true},
	"a panic in a Goexit":           {code: func() error { defer boom(); runtime.Goexit(); return nil }, want: "it called runtime.Goexit", exit: true},
	"a panic whose text exits":      {code: func() error { panic(badText{runtime.Goexit}) }, want: "it called runtime.Goexit", exit: true},
	"a typed nil error":             {code: func() error { return (*usercodetest.NilError)(nil) }, want: "it panicked: runtime error: invalid memory address"},
	"an error whose Error panics":   {code: func() error { return usercodetest.BadError{Method: "Error", Fail: boom} }, want: "it panicked: boom"},
	"an error whose Is panics":      {code: func() error { return usercodetest.BadError{Method: "Is", Fail: boom} }, want: "it panicked: boom"},
	"an error whose As panics":      {code: func() error { return usercodetest.BadError{Method: "As", Fail: boom} }, want: "it panicked: boom"},
	"an error whose Unwrap panics":  {code: func() error { return usercodetest.BadError{Method: "Unwrap", Fail: boom} }, want: "it panicked: boom"},
	"an inner error panics":         {code: func() error { return errors.Join(io.EOF, usercodetest.BadError{Method: "Is", Fail: boom}) }, want: "it panicked: boom"},
	"an error whose Error exits":    {code: func() error { return usercodetest.BadError{Method: "Error", Fail: runtime.Goexit} }, want: "it called runtime.Goexit", exit: true},
	"an error that panics with one": {code: func() error { panic(usercodetest.BadError{Method: "Error", Fail: boom}) }, want: "it panicked: %!v(PANIC=Error method: boom)"},
}

// TestOutcomes: whatever code does, its caller gets an error that says it.
func TestOutcomes(t *testing.T) {
	for name, tt := range outcomes {
		for way, call := range map[string]func(t usercode.Trier, f func() error) error{
			"Try":  func(t usercode.Trier, f func() error) error { return t.Try("it", f) },
			"Call": func(t usercode.Trier, f func() error) error { return usercode.Call(t, "it", f) },
			"CallUntil": func(t usercode.Trier, f func() error) error {
				return usercode.CallUntil(context.Background(), 0, t, "it", f)
			},
		} {
			t.Run(name+"/"+way, func(t *testing.T) {
				var err error
				returned, ended := false, make(chan struct{})
				go func() {
					defer close(ended)
					err = call(&plain{}, tt.code)
					returned = true
				}()
				<-ended
				require.Equal(t, !tt.exit || way != "Try", returned)
				switch {
				case !returned:
				case tt.want == "":
					require.NoError(t, err)
				default:
					require.ErrorContains(t, err, tt.want)
				}
			})
		}
	}
}

// TestKeepsErrors: an error that code returns comes back as it is.
func TestKeepsErrors(t *testing.T) {
	want := &usercodetest.NilError{Text: "text"}
	f := func() error { return want }
	assert.Same(t, want, usercode.Try("it", nil, f))
	assert.Same(t, want, usercode.Call(&plain{}, "it", f))
}

// TestFailureInside: a failure of code inside other code is not one of the other.
func TestFailureInside(t *testing.T) {
	for name, inner := range map[string]func() error{
		"panic":  func() error { boom(); return nil },
		"Goexit": func() error { runtime.Goexit(); return nil },
	} {
		outer := func() error { return usercode.Call(&plain{}, "inner", inner) }
		t.Run(name, func(t *testing.T) {
			for _, err := range []error{
				usercode.Try("outer", nil, outer),
				usercode.Call(&plain{}, "outer", outer),
				usercode.CallUntil(t.Context(), 0, &plain{}, "outer", outer),
			} {
				require.ErrorContains(t, err, "inner ")
				assert.False(t, usercode.IsFailure(err))
				var failure *usercode.Failure
				assert.ErrorAs(t, err, &failure)
			}
			assert.True(t, usercode.IsFailure(outer()))
		})
	}
}

// TestReport: somebody is told what happened, while the frames are on the stack.
func TestReport(t *testing.T) {
	for name, tt := range map[string]struct {
		code func() error
		want any
	}{
		"a panic": {func() error { boom(); return nil }, "boom"},
		"Goexit":  {func() error { runtime.Goexit(); return nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var told []*usercode.Failure
			var stack string
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = usercode.Try("it", func(f *usercode.Failure) {
					told, stack = append(told, f), string(debug.Stack())
				}, tt.code)
			}()
			<-ended
			require.Len(t, told, 1)
			assert.Equal(t, tt.want, told[0].Panic)
			assert.Contains(t, stack, "usercode_test.TestReport.func", "the frame of the code")
		})
	}
	var told []*usercode.Failure
	require.NoError(t, usercode.Try("it", func(f *usercode.Failure) { told = append(told, f) }, func() error { return nil }))
	require.ErrorIs(t, usercode.Try("it", func(f *usercode.Failure) { told = append(told, f) }, func() error { return io.EOF }), io.EOF)
	assert.Empty(t, told, "code that returns has not failed")
	require.ErrorContains(t, usercode.Try("it", nil, func() error { boom(); return nil }), "boom", "nobody need be told")
}

// TestCodeThatBlocks: CallUntil returns when the context has ended and the grace has
// passed, whatever the code does then.
func TestCodeThatBlocks(t *testing.T) {
	why := errors.New("why")
	for name, tt := range map[string]struct {
		takes time.Duration
		want  error
	}{
		"before the context ends": {time.Second - 1, io.EOF},
		"within the grace":        {3*time.Second - 1, io.EOF},
		"after the grace":         {time.Hour, why},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
				defer cancel()
				err := usercode.CallUntil(ctx, 2*time.Second, &plain{}, "it", func() error {
					time.Sleep(tt.takes)
					return io.EOF
				})
				assert.Equal(t, tt.want, err)
				assert.Equal(t, min(tt.takes, 3*time.Second), time.Since(begin))
				time.Sleep(tt.takes) // so that the code has ended
			})
		})
	}
}

// TestTryAllocates: Try costs no memory if the code returns.
func TestTryAllocates(t *testing.T) {
	n := 0
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_ = usercode.Try("it", func(*usercode.Failure) { n-- }, func() error { n++; return nil })
	}))
}
