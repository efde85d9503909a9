package server_test

import (
	"fmt"
	"os"
	"os/exec"
)

// childVariable names, in the environment of a child process, what the test
// binary is there.
const childVariable = "DIRTY_SERVER_TEST_CHILD"

// children are what the test binary can be instead of running tests.
var children = map[string]func() error{}

func runChild(name string) int {
	f, ok := children[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no child %q\n", name)
		return 2
	}
	if err := f(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// childCommand is the test binary as a child, with more variables.
func childCommand(name string, variables ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(variables, childVariable+"="+name, "GORACE=atexit_sleep_ms=0")...)
	return cmd
}
