package interop

import (
	"fmt"

	"github.com/gunicorn-go/dirty/internal/loud"
)

// notRun says that nothing was tested where people see it. go test hides the
// output of packages that pass, but shows "[no tests to run]" after this line.
func notRun(reason error) {
	loud.Say("interop: NOT RUN against real gunicorn: %v\n"+
		"interop: DIRTY_INTEROP=require makes the environments and runs; see interop/README.md", reason)
	fmt.Println("testing: warning: no tests to run")
}
