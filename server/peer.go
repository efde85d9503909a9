package server

import "net"

// Cred is who a client is, in the server's namespaces: its process when it
// connected.
type Cred struct{ PID, UID, GID int }

// PeerCred returns who the client at the other end of a Unix socket is; ok is
// false if that is not known, as on systems other than Linux. See
// [Server.ConnContext] for where to call it.
func PeerCred(c net.Conn) (cred Cred, ok bool) {
	if u, isUnix := c.(*net.UnixConn); isUnix {
		return peerCred(u)
	}
	return Cred{}, false
}
