package main

import (
	"io"
	"strings"
	"sync"
)

// maxHeld bounds what is kept of standard error while a screen has the terminal.
const maxHeld = 64 << 10

// heldOutput keeps what was meant for standard error while a screen has the terminal,
// and its last line for the screen. It may be used concurrently.
type heldOutput struct {
	mu   sync.Mutex
	text []byte
	last string
}

// Write keeps a line or more. What is too much is lost.
func (h *heldOutput) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text = append(h.text, b[:min(len(b), maxHeld-len(h.text))]...)
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	h.last = printable(lines[len(lines)-1])
	return len(b), nil
}

// lastLine returns the last line.
func (h *heldOutput) lastLine() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// release writes what was kept.
func (h *heldOutput) release(out io.Writer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _ = out.Write(h.text)
	h.text = nil
}
