//go:build unix

package interop

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
)

// TestMain finds or makes the Python environments, says loudly if there are none, and
// stops the processes that the tests have started.
//
// DIRTY_INTEROP decides what is needed:
//
//	(unset)  run if the environments are there; no network, nothing is made
//	require  make them; whatever is missing is a failure
//	off      do not run
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(childOfWorker())
	}
	os.Exit(run(m))
}

// manyAtOnce is the default of -parallel. It is more than the usual number of cores,
// because the tests wait more than they compute.
const manyAtOnce = 8

func run(m *testing.M) int {
	mode := os.Getenv("DIRTY_INTEROP")
	var err error
	switch mode {
	case "off":
		err = errors.New("DIRTY_INTEROP=off")
	case "", "require":
		err = findPythons(mode == "require")
	default:
		fmt.Fprintf(os.Stderr, "interop: DIRTY_INTEROP=%s: want require, off or nothing\n", mode)
		return 1
	}
	if err != nil {
		notRun(err)
		if mode == "require" {
			return 1
		}
		return 0
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" || f.Name == "test.fuzz" })
	if !given { // of a fuzzer it is the number of workers, which compute
		if err := flag.Set("test.parallel", strconv.Itoa(manyAtOnce)); err != nil {
			panic(err)
		}
	}
	defer stopAll()
	return m.Run()
}
