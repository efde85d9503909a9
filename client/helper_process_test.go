package client_test

import (
	"fmt"
	"os"
	"os/exec"
)

// helperVariable names, in the environment of a child process, which helper
// the test binary is there.
const helperVariable = "DIRTY_CLIENT_TEST_HELPER"

// helpers are what the test binary can be instead of running tests.
var helpers = map[string]func() error{}

func runHelper(name string) int {
	f, ok := helpers[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no helper %q\n", name)
		return 2
	}
	if err := f(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// helperCommand is a helper in a process of its own, with more variables.
func helperCommand(name string, variables ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"="+name, "GORACE=atexit_sleep_ms=0") // else it takes a second to end
	for i := 0; i < len(variables); i += 2 {
		cmd.Env = append(cmd.Env, helperVariable+"_"+variables[i]+"="+variables[i+1])
	}
	return cmd
}
