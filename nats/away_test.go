package dirtynats

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
)

// TestIsAway: a cluster without a majority is away, whatever words it has for that.
func TestIsAway(t *testing.T) {
	for err, want := range map[error]bool{
		nats.ErrNoResponders:                                                              true,
		&jetstream.APIError{Code: 503, ErrorCode: 10008}:                                  true,
		&jetstream.APIError{Code: 500, ErrorCode: 10009}:                                  true,
		&jetstream.APIError{Code: 503, ErrorCode: jetstream.JSErrCodeJetStreamNotEnabled}: false,
		jetstream.ErrStreamNotFound:                                                       false,
	} {
		assert.Equal(t, want, isAway(fmt.Errorf("wrapped: %w", err)), err)
	}
}
