//go:build unix

package interop

import (
	"encoding/binary"
	"io"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// oracle is a Python process that answers with gunicorn's own code. The
// protocol is described in oracle.py.
type oracle struct {
	lock   sync.Mutex
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.Reader
}

// The commands and verdicts of oracle.py.
const (
	askValue  = 'v'
	askFrame  = 'm'
	askHeader = 'h'

	isValid   = 'v'
	isError   = 'e'
	isTooDeep = 'd'
)

// oracles are started when they are first needed.
var oracles struct {
	sync.Mutex
	running map[python]*oracle
}

func oracleOf(t testing.TB, p python) *oracle {
	t.Helper()
	oracles.Lock()
	defer oracles.Unlock()
	if o := oracles.running[p]; o != nil {
		return o
	}
	o := &oracle{cmd: exec.Command(p.path, "-B", "oracle.py")}
	var err error
	o.stdin, err = o.cmd.StdinPipe()
	require.NoError(t, err)
	o.stdout, err = o.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, o.cmd.Start())
	if oracles.running == nil {
		oracles.running = map[python]*oracle{}
	}
	oracles.running[p] = o
	return o
}

// ask returns the verdict, and gunicorn's bytes or the text of its error.
func (o *oracle) ask(t testing.TB, command byte, data []byte) (verdict byte, answer []byte) {
	t.Helper()
	o.lock.Lock()
	defer o.lock.Unlock()
	question := binary.BigEndian.AppendUint32(nil, uint32(1+len(data)))
	_, err := o.stdin.Write(append(append(question, command), data...))
	require.NoError(t, err)
	var size [4]byte
	_, err = io.ReadFull(o.stdout, size[:])
	require.NoError(t, err)
	answer = make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err = io.ReadFull(o.stdout, answer)
	require.NoError(t, err)
	return answer[0], answer[1:]
}

func (o *oracle) stop() {
	_ = o.stdin.Close() // it ends by itself
	_ = o.cmd.Wait()
}
