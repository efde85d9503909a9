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
// It is no mock: real frames cross a real socket to the real server package. Code
// that finds the socket by itself is served with [Server.Setenv] or [Server.Socket],
// Python too. Everything ends with the test.
//
// [Server.Requests] tells what has come. [Server.Stash] and [Server.SetWorkers]
// reach behind the wire. [Server.Fault] makes things go wrong, with some requests,
// some times, or by chance; [Server.Restart], [Server.Respawn], [Server.RefuseDials]
// and [Server.FullBacklog] are faults of the whole server. [Server.Script] plays raw
// frames. With [WithInMemory] all this works inside [testing/synctest].
//
// A call that the test has no handler for fails the test, see [WithUnknownCalls].
//
// What a real arbiter does is tested in the folder interop, with the same suite for
// both; docs/DIFFERENCES.md lists where this one differs on purpose.
package dirtytest
