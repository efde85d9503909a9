// Package usercode calls code of the user's: functions and methods that are given
// to this module. They may panic, end their goroutine with [runtime.Goexit], block,
// or return an error whose methods do so.
//
// [Try] calls such code in the goroutine that it is in. It costs little, but a
// Goexit ends that goroutine, so what must be done nevertheless has to be deferred.
// [Call] calls it in a goroutine of its own and waits for it. [CallUntil] does not
// wait for code that blocks.
package usercode

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Failure is the error of code that did not return.
type Failure struct {
	What  string // the code
	Panic any    // what it panicked with; nil if it called runtime.Goexit
	text  string
}

// NewFailure returns the failure of the code that is called what. It makes the text
// now, because the methods of the value that the code panicked with may fail too.
func NewFailure(what string, panicked any) *Failure {
	f := &Failure{What: what, Panic: panicked}
	if panicked == nil {
		f.text = what + " called runtime.Goexit"
	} else {
		f.text = fmt.Sprintf("%s panicked: %v", what, panicked) // which survives a panic in String
	}
	return f
}

func (f *Failure) Error() string { return f.text }

// IsFailure reports whether what [Try], [Call] or [CallUntil] returned is a [*Failure]
// of the code that they called.
func IsFailure(err error) bool {
	_, is := err.(*Failure)
	return is
}

// Try calls f, which errors call what, in this goroutine. A panic becomes a
// [*Failure]. So does one in the methods of the error that f returns: all of them
// are called here, where a panic does no harm.
//
// report may be nil. It is told of a panic, and of a Goexit, which ends this
// goroutine after that. The frames of f are still on the stack then.
func Try(what string, report func(*Failure), f func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		failure := NewFailure(what, recover())
		err = failure
		if report != nil {
			report(failure)
		}
	}()
	if err = f(); err != nil {
		inspect(err)
	}
	returned = true
	if IsFailure(err) { // of code inside f, which has returned itself
		err = fmt.Errorf("%w", err)
	}
	return err
}

// inspect calls the methods that [errors.Is] and [errors.As] call, and Error.
func inspect(err error) {
	_ = err.Error()
	_ = errors.Is(err, errNone)
	var failure *Failure
	_ = errors.As(err, &failure)
}

// errNone is no error that anybody returns.
var errNone = errors.New("none")

// A Trier calls code as [Try] does, and adds what its package needs, such as a log
// line. Its Try is in the stack of the code.
type Trier interface {
	Try(what string, f func() error) error
}

// Silent is a [Trier] that tells nobody: for a logger, which cannot tell of itself.
var Silent Trier = silent{}

type silent struct{}

func (silent) Try(what string, f func() error) error { return Try(what, nil, f) }

// Call has t call f in a goroutine of its own, and waits for the end of that. A
// Goexit becomes a [*Failure].
func Call(t Trier, what string, f func() error) error {
	var call struct {
		sync.WaitGroup
		err error
	}
	call.Add(1)
	go func() {
		returned := false
		defer func() {
			if !returned {
				call.err = NewFailure(what, nil)
			}
			call.Done()
		}()
		call.err = t.Try(what, f)
		returned = true
	}()
	call.Wait()
	return call.err
}

// CallUntil is Call, but does not wait for code that blocks. When ctx has ended and
// grace has passed after that, it returns the cause of ctx. f then goes on by itself:
// what it uses must not be used any more.
func CallUntil(ctx context.Context, grace time.Duration, t Trier, what string, f func() error) error {
	if ctx.Done() == nil {
		return Call(t, what, f)
	}
	result := make(chan error, 1)
	go func() { result <- Call(t, what, f) }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case err := <-result:
		return err
	case <-timer.C:
		return context.Cause(ctx)
	}
}
