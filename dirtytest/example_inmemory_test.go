package dirtytest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/dirtytest"
)

// testTimeout would be named TestTimeout: a call that is never answered ends after 30
// seconds, which take no time here.
func testTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := dirtytest.NewServer(t, nil, dirtytest.WithInMemory())
		s.Fault(dirtytest.MatchAny, dirtytest.Hang())
		begin := time.Now()
		_, err := s.Client().Execute(t.Context(), "app:Model", "predict")
		if took := time.Since(begin); took != 30*time.Second || !errors.Is(err, client.ErrTimeout) {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// Timeouts, retries and pauses are tested without waiting for them.
func ExampleWithInMemory() {
	_ = testTimeout // go test runs it
}
