package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"syscall"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOutcome: each word, and nothing but words that are documented.
func TestOutcome(t *testing.T) {
	failed := func(stage client.Stage, err error) error {
		return &client.OpError{Operation: execute, Stage: stage, Sent: stage == client.StageRead || stage == client.StageDecode, Err: err}
	}
	remote := func(class string) error {
		return failed(client.StageRead, &dirty.RemoteError{Type: class, Message: "x"})
	}
	words := map[string]bool{}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, "ok"},
		{io.EOF, "ok"},
		{remote(dirty.ClassApp), "app_error"},
		{remote(dirty.ClassAppNotFound), "app_not_found"},
		{remote(dirty.ClassNoWorkersAvailable), "no_workers"},
		{remote(dirty.ClassWorker), "worker_error"},
		{remote(dirty.ClassKeyNotFound), "not_found"},
		{remote(dirty.ClassTableNotFound), "not_found"},
		{remote(dirty.ClassTimeout), "timeout"},
		{remote(dirty.ClassError), "remote_error"},
		{remote("Unheard"), "remote_error"},
		{failed(client.StageRead, context.DeadlineExceeded), "timeout"},
		{failed(client.StageDial, context.DeadlineExceeded), "timeout"},
		{failed(client.StageWait, fmt.Errorf("%w: %w", client.ErrPoolTimeout, context.DeadlineExceeded)), "pool_timeout"},
		{failed(client.StageRead, context.Canceled), "canceled"},
		{failed(client.StageRead, client.ErrStreamClosed), "canceled"},
		{failed(client.StagePrepare, client.ErrClosed), "closed"},
		{failed(client.StageDial, fmt.Errorf("%w: %w", client.ErrUnavailable, syscall.ECONNREFUSED)), "unavailable"},
		{failed(client.StageDial, client.ErrNoSocket), "unavailable"},
		{failed(client.StageDial, syscall.EACCES), "unavailable"},
		{failed(client.StageRead, io.ErrUnexpectedEOF), "lost"},
		{failed(client.StageRead, &dirty.ProtocolError{Err: io.ErrUnexpectedEOF}), "lost"},
		{failed(client.StageWrite, syscall.EPIPE), "lost"},
		{failed(client.StageRead, client.ErrIDMismatch), "bad_reply"},
		{failed(client.StageRead, client.ErrStreamingResponse), "bad_reply"},
		{failed(client.StageRead, client.ErrUnexpectedReply), "bad_reply"},
		{failed(client.StageRead, client.ErrUnsupportedPeer), "bad_reply"},
		{failed(client.StageRead, &dirty.ProtocolError{Err: dirty.ErrBadMagic}), "bad_reply"},
		{failed(client.StageDecode, &dirty.UnmarshalTypeError{Err: dirty.ErrTypeMismatch}), "bad_reply"},
		{failed(client.StagePrepare, client.ErrInvalidArgument), "invalid"},
		{failed(client.StagePrepare, client.ErrStreamUsed), "invalid"},
		{failed(client.StagePrepare, &dirty.MarshalError{Err: dirty.ErrUnsupportedType}), "invalid"},
		{failed(client.StageDial, client.ErrHookFailed), "hook_failed"},
		{errPolicy, "other"},
	} {
		assert.Equal(t, tt.want, client.Outcome(tt.err), "%v", tt.err)
		words[tt.want] = true
		if tt.err != nil && tt.err != io.EOF {
			assert.Equal(t, tt.want, client.Outcome(errors.Join(tt.err)), "%v", tt.err)
		}
	}
	source, err := os.ReadFile("outcome.go")
	require.NoError(t, err)
	var documented []string
	for _, match := range regexp.MustCompile(`(?m)^//\t(\w+)  `).FindAllStringSubmatch(string(source), -1) {
		documented = append(documented, match[1])
	}
	assert.Len(t, documented, len(words))
	for _, word := range documented {
		assert.Contains(t, words, word)
	}
}
