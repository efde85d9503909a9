//go:build !linux

package transport

import (
	"errors"
	"fmt"
	"net"
	"runtime"
)

// errElsewhere is for what only Linux can tell or do.
var errElsewhere = fmt.Errorf("not measured on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// rawMode is missing here.
var rawMode mode

func onOneCore(func() error) error                 { return errElsewhere }
func countCalls(int) (calls, error)                { return calls{}, errElsewhere }
func sendBuffer(*net.UnixConn) (size int, _ error) { return 0, errElsewhere }
