//go:build !linux

package transport

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"

	"github.com/gunicorn-go/dirty/bench/internal/rounds"
)

// errElsewhere is for what only Linux can tell or do.
var errElsewhere = fmt.Errorf("not measured on %s: %w", runtime.GOOS, errors.ErrUnsupported)

// rawMode is missing here.
var rawMode mode

func onOneCore(func() error) error                 { return errElsewhere }
func countCalls(int) (systemCalls, error)          { return systemCalls{}, errElsewhere }
func sendBuffer(*net.UnixConn) (size int, _ error) { return 0, errElsewhere }
func cpuOf(int) (rounds.Clock, error)              { return nil, errElsewhere }
func endWithParent(*exec.Cmd)                      {}
