package dirtynats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrUnavailable says that NATS could not be reached, did not answer in time, or has
// no majority of its servers. A change that fails with it may have been made all the
// same, if it was sent.
var ErrUnavailable = errors.New("NATS is not available")

// ConnectOptions returns the options of [nats.Connect] that this package expects:
//
//   - to try to come back for ever, ten times a second, also if NATS refuses the
//     credentials;
//   - to send nothing later that was asked for while the connection was down: it has
//     failed by then, and the caller may have made it again;
//   - to notice a server that has fallen silent after 6 seconds, and to give up a write
//     that is stuck after 5.
//
// Options of yours, such as credentials, come after them.
//
// [nats.Connect]: https://pkg.go.dev/github.com/nats-io/nats.go#Connect
func ConnectOptions() []nats.Option {
	return []nats.Option{
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(2 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.FlusherTimeout(5 * time.Second),
	}
}

// bound runs f for at most the time that one operation may take. It fails at once
// while the connection is down. An error that is due to NATS matches ErrUnavailable.
func bound(ctx context.Context, nc *nats.Conn, timeout time.Duration, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if status := nc.Status(); status != nats.CONNECTED && status != nats.DRAINING_SUBS {
		return fmt.Errorf("%w: the connection is %v", ErrUnavailable, status)
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := f(bounded)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case bounded.Err() != nil:
		return fmt.Errorf("%w: no answer within %v", ErrUnavailable, timeout)
	case isAway(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// isAway reports whether an error of the NATS client means that NATS is away.
func isAway(err error) bool {
	for _, away := range []error{
		nats.ErrNoResponders, nats.ErrTimeout, nats.ErrDisconnected, nats.ErrConnectionClosed, nats.ErrConnectionReconnecting,
		nats.ErrConnectionDraining, nats.ErrReconnectBufExceeded, nats.ErrStaleConnection, nats.ErrNoServers,
	} {
		if errors.Is(err, away) {
			return true
		}
	}
	var answer *jetstream.APIError
	return errors.As(err, &answer) && (answer.ErrorCode == codeNotAvailable || answer.ErrorCode == codeNotLeader)
}

// What a NATS server answers while its cluster has no majority or no leader. The NATS
// client has no names for these codes.
const (
	codeNotAvailable jetstream.ErrorCode = 10008
	codeNotLeader    jetstream.ErrorCode = 10009
)
