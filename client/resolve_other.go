//go:build !linux

package client

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

func socketByPIDFile(context.Context, string) (path string, pid int, err error) {
	return "", 0, fmt.Errorf("client.FromPIDFile on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
