//go:build !unix

package dirtytest

import (
	"errors"
	"fmt"
	"net"
)

func (*backlog) fill(*net.UnixListener, string) error {
	return fmt.Errorf("FullBacklog: %w on this system, unless the server is in memory", errors.ErrUnsupported)
}
