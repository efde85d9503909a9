//go:build unix

package main

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/internal/chromium"
	"github.com/gunicorn-go/dirty/internal/realgunicorn"
)

// TestPython: the page with the app in Python, under real gunicorn.
func TestPython(t *testing.T) {
	chromium.Need(t)
	root := filepath.Join("..", "..")
	python, folder := realgunicorn.Python(t, root), realgunicorn.Folder(t)
	socket := filepath.Join(folder, "dirty.sock")
	realgunicorn.Start(t, python, filepath.Join("python", "gunicorn.conf.py"), folder, "DIRTY_SOCKET="+socket)
	c, err := client.New(client.WithSocket(socket), client.WithWaitForServer(time.Minute))
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(t, c.WaitReady(ctx, appName))
	s := httptest.NewServer(newHandler(c))
	defer s.Close()
	testModelOf(t, s.URL)
}
