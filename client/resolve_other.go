//go:build !linux

package client

import (
	"errors"
	"fmt"
	"runtime"
)

func socketByPIDFile(string) (string, error) {
	return "", fmt.Errorf("client.PIDFile on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
