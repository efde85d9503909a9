package server

import "net"

// Cred is who a client was when it connected, in the server's namespaces. PID is
// 0 for a process in a pid namespace that the server cannot see into, UID and GID
// are the system's overflow number (65534 as a rule) for users and groups of
// another user namespace: do not give that number any rights.
type Cred struct{ PID, UID, GID int }

// PeerCred returns who the client at the other end of a Unix socket is, as the
// kernel tells. ok is false if that is not known: on systems other than Linux,
// and for what is not a [*net.UnixConn]. It may be called concurrently; see
// [Server.ConnContext] for where to call it.
//
// The process may have ended, or passed the connection on, and its id may be that
// of another one by now. The user and the group do not change.
func PeerCred(c net.Conn) (cred Cred, ok bool) {
	if u, isUnix := c.(*net.UnixConn); isUnix {
		return peerCred(u)
	}
	return Cred{}, false
}
