//go:build !unix

package dirty

import "errors"

// canReadRaw says that there is no readDescriptor on these systems. A Reader keeps its
// window.
const canReadRaw = false

func readDescriptor(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
