//go:build unix

package pages_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gunicorn-go/dirty/client"
	"github.com/gunicorn-go/dirty/internal/pages"
	"github.com/gunicorn-go/dirty/internal/realgunicorn"
)

// find returns the block of the README for a file of that name.
func find(t *testing.T, name string) pages.Block {
	t.Helper()
	b, err := pages.Find(root, "README.md", name)
	require.NoError(t, err)
	return b
}

// buildProgram builds the program of a block into a folder.
func buildProgram(t *testing.T, b pages.Block, folder string) (path string) {
	t.Helper()
	source, err := pages.Source(b)
	require.NoError(t, err)
	path = filepath.Join(folder, "program")
	out, err := build(t, pages.Folder(root, source), map[string]string{"internal/blocks/program/main.go": source}, path)
	require.NoError(t, err, out)
	return path
}

// TestReadmeFirstCall: the three files of the README, in one folder, do what it says.
func TestReadmeFirstCall(t *testing.T) {
	python, folder := realgunicorn.Python(t, root), realgunicorn.Folder(t)
	program := buildProgram(t, find(t, "main.go"), folder)
	settings := "bind = \"unix:http.sock\"\n" // port 8000 may be taken
	for name, more := range map[string]string{"app.py": "", "gunicorn.conf.py": settings} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(find(t, name).Code+more), 0o600))
	}
	realgunicorn.Start(t, python, filepath.Join(folder, "gunicorn.conf.py"), folder)
	c, err := client.New(client.WithSocket(filepath.Join(folder, "dirty.sock")), client.WithWaitForServer(time.Minute))
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(t, c.WaitReady(ctx, "app:Model"))

	cmd := exec.CommandContext(ctx, program)
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	got := strings.Split(string(out), "\n")
	assert.Equal(t, []string{"[cat dog] <nil>", "ONCE <nil>", "UPON <nil>", "A <nil>", "TIME <nil>", ""}, got)
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	assert.Contains(t, string(readme), "It prints `"+got[0]+"`, then `"+got[1]+"` and so on.")
}

// TestReadmeAnswer: gunicorn's own client gets what the README says from its server,
// which ends well after a signal.
func TestReadmeAnswer(t *testing.T) {
	python, folder := realgunicorn.Python(t, root), realgunicorn.Folder(t)
	blocks, err := pages.Read(root, "README.md")
	require.NoError(t, err)
	var server, caller pages.Block
	for _, b := range blocks {
		if strings.Contains(b.Code, "s.Run(ctx") {
			server = b
		}
		if strings.Contains(b.Code, "get_dirty_client()") {
			caller = b
		}
	}
	cmd := exec.Command(buildProgram(t, server, folder))
	cmd.Dir = folder
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ended := false
	defer func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	socket := filepath.Join(folder, "shop.sock")
	require.Eventually(t, func() bool { _, err := os.Stat(socket); return err == nil }, time.Minute, time.Millisecond)

	call := exec.Command(python, "-c", caller.Code)
	call.Env = append(os.Environ(), "GUNICORN_DIRTY_SOCKET="+socket)
	out, err := call.CombinedOutput()
	require.NoError(t, err, "%s", out)
	says := regexp.MustCompile(`# (.*)\n$`).FindStringSubmatch(caller.Code)
	require.NotNil(t, says)
	assert.Equal(t, says[1], strings.TrimSpace(string(out)))

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	line, err := bufio.NewReader(stderr).ReadString('\n')
	require.NoError(t, err)
	assert.Contains(t, line, "<nil>")
	ended = true
	require.NoError(t, cmd.Wait())
}
