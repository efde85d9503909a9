package dirtytest_test

import (
	"errors"
	"testing"

	"github.com/gunicorn-go/dirty"
	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
)

// testCutStream would be named TestCutStream: code that reads a stream is tested with
// one that breaks off in the middle.
func testCutStream(t *testing.T) {
	s := dirtytest.NewServer(t, nil)
	s.Script( // played on the next connection
		dirtytest.Expect(dirtytest.MatchCall("app:LLM", "generate")),
		dirtytest.Send(func(id uint64) dirty.Message { return dirty.NewChunk(id, "Once") }),
		// and then it is closed
	)
	var got []string
	var failure error
	for token, err := range client.StreamOf[string](t.Context(), s.Client(), "app:LLM", "generate", "a prompt") {
		if err != nil {
			failure = err
			break
		}
		got = append(got, token)
	}
	if len(got) != 1 || !errors.Is(failure, client.ErrOutcomeUnknown) {
		t.Errorf("got %q, %v", got, failure)
	}
}

// A connection frame by frame, also such as no server would send.
func ExampleServer_Script() {
	_ = testCutStream // go test runs it
}
