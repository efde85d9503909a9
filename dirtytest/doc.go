// Package dirtytest is an arbiter for tests, in one line:
//
//	func TestLabel(t *testing.T) {
//		mux := server.NewMux()
//		mux.Handle("app:Model", "predict", server.Func(func(_ context.Context, image []byte) (string, error) {
//			return "cat", nil
//		}))
//		s := dirtytest.NewServer(t, mux)
//		label, err := Label(s.Client()) // the code under test
//		...
//	}
//
// It is not a mock: real frames cross a real socket to the real server package. If
// the code under test finds the socket by itself, use [Server.Setenv] or
// [Server.Socket]; that works for Python too. The server ends with the test.
//
// [Server.Requests] returns the requests that have come. [Server.Stash] and
// [Server.SetWorkers] read and change the state of the server without a client.
//
// [Server.Fault] lets chosen requests go wrong, a number of times or by chance.
// [Server.Restart], [Server.Respawn], [Server.RefuseDials] and [Server.FullBacklog]
// are faults of the whole server. [Server.Script] plays raw frames. With
// [WithInMemory] all this works inside [testing/synctest].
//
// A call for which the test has no handler fails the test, see [WithUnknownCalls].
//
// The tests in the folder interop run against this package and against real
// arbiters. docs/DIFFERENCES.md lists where it differs from them on purpose.
package dirtytest
