//go:build !unix

package dirtytest

import (
	"errors"
	"fmt"
	"net"
)

func (*backlog) fill(*net.UnixListener, string) error {
	return fmt.Errorf("FullBacklog: %w here, but for servers in memory", errors.ErrUnsupported)
}
