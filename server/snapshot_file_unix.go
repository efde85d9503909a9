//go:build unix

package server

import (
	"errors"
	"os"
)

// syncFolder makes a new name in a folder outlive a crash of the machine.
func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
