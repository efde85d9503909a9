package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The kinds of packets between a server and its heir. The kind is the first byte.
const (
	packetOffer  = 'O' // from the server: an offerText, and the listeners
	packetStash  = 'S' // from the server: the next bytes of a snapshot
	packetReady  = 'R' // from the server: all of the offer was sent
	packetCommit = 'C' // from the heir: it serves from here on
	packetGone   = 'G' // from the server: it knows, and changes the stash no more
	packetAbort  = 'A' // from the server: no take-over, and why
	packetConn   = 'N' // from the server: a connection
)

// How long the two sides of a take-over wait for each other.
const (
	// offerTimeout bounds the time from the end of the offer to the commit, and
	// between two packets of a snapshot.
	offerTimeout = 10 * time.Second
	// heirTimeout bounds the heir's wait for each packet of the offer. It is
	// longer, because another heir may be before it.
	heirTimeout = 2 * offerTimeout
	// handOverTimeout bounds the wait for an heir that does not read.
	handOverTimeout = 10 * time.Second
)

const (
	maxPacket     = 32 << 10 // of a packet's bytes
	maxPacketFDs  = 253      // of a packet's file descriptors (SCM_MAX_FD)
	takeOverTries = 10       // of a process that finds servers that end
)

// offerText is the text of an offer.
type offerText struct {
	Version       int // of what the two say to each other
	PID           int
	Socket, Heirs fileID // of the files at PATH and PATH.takeover
	Claimed       bool   // clients find the server as their peer, not the process that made the socket
	Keep          bool   // the file at PATH is another's, such as systemd's
	Stash         bool   // a snapshot of the stash follows
	Tables        int    // of the stash
	Conns         int    // connections that are to be handed over; more may come
}

// takeOverVersion is the Version of this code.
const takeOverVersion = 2

// fileID tells which file one is.
type fileID struct{ Device, Inode uint64 }

func fileIDOf(info fs.FileInfo) fileID {
	stat := info.Sys().(*syscall.Stat_t)
	return fileID{uint64(stat.Dev), stat.Ino} // 32 bits on MIPS
}

// errLostConn is for a connection that did not arrive: the system had no file
// descriptor for it.
const errLostConn = sentinel("the connection did not arrive")

// errNoPredecessor says that there is no server to take over.
const errNoPredecessor = sentinel("there is no server to take over")

// link is the connection between a server and its heir. Sending may be
// concurrent, receiving not.
type link struct {
	nc  *net.UnixConn
	pid int // of the other side
	mu  sync.Mutex
}

// newLink returns a link, if the other side is of the same user.
func newLink(nc net.Conn) (*link, error) {
	u, ok := nc.(*net.UnixConn)
	if !ok {
		return nil, errors.New("not a Unix socket")
	}
	cred, ok := peerCred(u)
	if !ok || cred.UID != os.Geteuid() {
		return nil, fmt.Errorf("the process %d at the other end is of user %d, not %d", cred.PID, cred.UID, os.Geteuid())
	}
	return &link{nc: u, pid: cred.PID}, nil
}

// Close closes the link.
func (l *link) Close() error { return l.nc.Close() }

// send sends a packet.
func (l *link) send(kind byte, body []byte, fds ...int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.nc.SetWriteDeadline(time.Now().Add(handOverTimeout))
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	_, _, err := l.nc.WriteMsgUnix(append([]byte{kind}, body...), rights, nil)
	return err
}

// packet is what is received. Its files belong to whoever receives it.
type packet struct {
	kind  byte
	body  []byte
	files []*os.File
	lost  bool // not all files have arrived
}

func (p *packet) close() {
	for _, f := range p.files {
		_ = f.Close()
	}
}

// receive receives a packet. At the end of the link it returns io.EOF.
func (l *link) receive() (p packet, err error) {
	data := make([]byte, 1+maxPacket)
	rights := make([]byte, syscall.CmsgSpace(4*maxPacketFDs))
	n, nr, flags, _, err := l.nc.ReadMsgUnix(data, rights)
	if err != nil {
		return p, err
	}
	if p.files, err = filesOf(rights[:nr]); err != nil {
		return p, err
	}
	if n == 0 {
		return p, io.EOF
	}
	p.kind, p.body, p.lost = data[0], data[1:n], flags&syscall.MSG_CTRUNC != 0
	if flags&syscall.MSG_TRUNC != 0 {
		p.close()
		return p, fmt.Errorf("a packet of kind %q has more than %d bytes", p.kind, maxPacket)
	}
	return p, nil
}

// filesOf returns the files that have come with a packet.
func filesOf(rights []byte) (files []*os.File, err error) {
	messages, err := syscall.ParseSocketControlMessage(rights)
	for _, m := range messages {
		fds, e := syscall.ParseUnixRights(&m)
		err = errors.Join(err, e)
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "taken over"))
		}
	}
	return files, err
}

// sendConn sends a connection in a packet of its own, because connections become free one
// by one, and many in one packet would save only some 4 µs each.
func (l *link) sendConn(nc net.Conn) error {
	return withFD(nc, func(fd int) error { return l.send(packetConn, nil, fd) })
}

// withFD calls a function with the file descriptor of a connection or listener,
// which stays open meanwhile.
func withFD(of any, f func(fd int) error) error {
	sc, ok := of.(syscall.Conn)
	if !ok {
		return fmt.Errorf("a %T has no file descriptor", of)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// receiveConn receives a connection. After errLostConn others may follow. After
// any other error there are none.
func (l *link) receiveConn() (net.Conn, error) {
	for {
		p, err := l.receive()
		if err != nil {
			return nil, err
		}
		if p.kind != packetConn { // an abort that came too late
			p.close()
			continue
		}
		if p.lost || len(p.files) != 1 {
			p.close()
			return nil, errLostConn
		}
		nc, err := net.FileConn(p.files[0])
		p.close()
		if err != nil {
			return nil, chain{errLostConn, err}
		}
		return nc, nil
	}
}

// offer is an offer to an heir that has not decided.
type offer struct {
	link    *link
	ctx     context.Context // of the offer; cancel withdraws it
	cancel  context.CancelFunc
	settled chan struct{} // closed when it is known what becomes of it
}

// withdraw ends the offer, unless the heir has committed. It returns when that is
// known.
func (o *offer) withdraw() {
	o.cancel()
	_ = o.link.nc.SetDeadline(time.Unix(1, 0))
	<-o.settled
}

// await waits for the commit, and reports whether it came.
func (o *offer) await() bool {
	_ = o.link.nc.SetReadDeadline(time.Now().Add(offerTimeout))
	if o.ctx.Err() != nil { // withdraw came before that
		_ = o.link.nc.SetReadDeadline(time.Unix(1, 0))
	}
	for {
		p, err := o.link.receive()
		p.close()
		if err == nil && p.kind == packetCommit {
			return true
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return o.abort("the new process did not answer in time, or the server is closing")
		}
		if err != nil {
			return false // the heir has left
		}
	}
}

// abort tells the heir that nothing comes of it. Then nothing more is received.
// If the commit had come before that, the offer stands: the heir cannot know of
// the abort. abort reports whether it did.
func (o *offer) abort(why string) (committed bool) {
	_ = o.link.send(packetAbort, []byte(why))
	_ = o.link.nc.CloseRead()
	_ = o.link.nc.SetReadDeadline(time.Now().Add(handOverTimeout)) // what has come is there already
	p, err := o.link.receive()
	p.close()
	return err == nil && p.kind == packetCommit
}

// serveHeirs makes offers to the processes that connect, one after the other,
// until one has taken over or the listener is closed.
func (s *Server) serveHeirs(f *socketFile) {
	for {
		nc, err := f.heirs.Accept()
		switch {
		case err == nil:
			if s.offerTo(f, nc) {
				return
			}
		case mayPass(err):
			select {
			case <-time.After(maxAcceptWait):
			case <-s.ended:
				return
			}
		default:
			return
		}
	}
}

// offerTo makes an offer, and reports whether the listener was taken over. If so,
// it returns when all is handed over.
func (s *Server) offerTo(f *socketFile, nc net.Conn) (taken bool) {
	l, err := newLink(nc)
	if err != nil {
		s.journal.warn("dirty: refused a process that wants to take over", slog.Any("error", err))
		_ = nc.Close()
		return false
	}
	o := &offer{link: l, settled: make(chan struct{})}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	defer o.cancel()
	if err := s.addOffer(o); err != nil {
		_ = l.send(packetAbort, []byte(unprefixed(err)))
		_ = l.Close()
		return false
	}
	settle := sync.OnceFunc(func() { s.removeOffer(o) })
	defer settle()
	stash := s.newMovingStash()
	defer stash.settle(nil)
	if err := o.send(f, stash, s.countToHandOver()); err != nil || !o.await() {
		if err != nil {
			_ = l.send(packetAbort, []byte(unprefixed(err)))
		}
		s.journal.write(slog.LevelInfo, "dirty: a process did not take over", slog.Int("pid", l.pid), slog.Any("error", err))
		_ = l.Close()
		return false
	}
	s.tellSystemd(l.pid)
	stash.moveTo(l)
	s.awaitSystemd()
	s.giveWay(f, l, settle)
	return true
}

// errSystemd is logged when systemd may take the end of this process for that of the
// service.
const errSystemd = "dirty: systemd does not learn of the new process"

// tellSystemd makes the heir the main process of this service, if it is one. Else systemd
// would take the end of this process for that of the service. It comes before the heir
// knows that it may serve, so that it comes before what that one tells in its turn.
func (s *Server) tellSystemd(heir int) {
	if heir == 0 { // in a pid namespace that cannot be seen
		return
	}
	if err := SystemdNotify("MAINPID=" + strconv.Itoa(heir)); err != nil {
		s.journal.write(slog.LevelWarn, errSystemd, slog.Any("error", err))
	}
}

// awaitSystemd returns when systemd knows the main process. Else a busy systemd can see
// the end of this process first. Meanwhile this process goes on serving what it has.
func (s *Server) awaitSystemd() {
	if err := awaitSystemd(); err != nil {
		s.journal.write(slog.LevelWarn, errSystemd, slog.Any("error", err))
	}
}

// addOffer makes an offer the pending one, when there is no other. It returns an
// error if none can be made.
func (s *Server) addOffer(o *offer) error {
	select {
	case s.offering <- struct{}{}:
	case <-s.ended:
		return ErrServerClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.checkOffer(o)
	if err != nil {
		<-s.offering
		return err
	}
	s.offer = o
	return nil
}

// checkOffer returns why no offer can be made. A process that takes over one of
// several listeners gets the others too, unless it has ended.
func (s *Server) checkOffer(o *offer) error {
	if s.closing.Load() {
		return ErrServerClosed
	}
	if heir := s.heir.Load(); heir != nil && heir.pid != o.link.pid && !errors.Is(syscall.Kill(heir.pid, 0), syscall.ESRCH) {
		return fmt.Errorf("the process %d takes it over", heir.pid)
	}
	return nil
}

// removeOffer is called when it is known what becomes of the offer.
func (s *Server) removeOffer(o *offer) {
	s.mu.Lock()
	s.offer = nil
	s.mu.Unlock()
	close(o.settled)
	<-s.offering
}

// countToHandOver counts the connections that an heir gets.
func (s *Server) countToHandOver() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if !isForeign(c.given) {
			n++
		}
	}
	return n
}

// send sends the listeners and the stash. conns is how many connections the heir gets.
func (o *offer) send(f *socketFile, stash *movingStash, conns int) error {
	text := offerText{Version: takeOverVersion, PID: os.Getpid(), Socket: fileIDOf(f.info), Heirs: fileIDOf(f.heirs.info),
		Claimed: f.isClaimed(), Keep: f.keep, Conns: conns}
	var err error
	if text.Tables, err = stash.hold(o.ctx); err != nil {
		return err
	}
	text.Stash = stash.store != nil
	body, err := json.Marshal(text)
	if err != nil {
		return err
	}
	err = withFD(f.l, func(fd int) error {
		return withFD(f.heirs.l, func(heirs int) error { return o.link.send(packetOffer, body, fd, heirs) })
	})
	if err != nil {
		return err
	}
	if err := stash.send(o.ctx, o.link); err != nil {
		return err
	}
	return o.link.send(packetReady, nil)
}

// listenOrTakeOver takes over the server at a path. If there is none, it listens
// there, and at PATH.takeover.
func (s *Server) listenOrTakeOver(path string) (net.Listener, error) {
	if err := s.setUp(); err != nil {
		return nil, err
	}
	var l *socketFile
	var err error
	for range takeOverTries {
		if l, err = s.takeOver(path); !errors.Is(err, errNoPredecessor) {
			break
		}
		if l, err = s.listenForHeirs(path); !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		select { // a server is about to start or to end
		case <-time.After(takeOverPause):
		case <-s.ended:
			return nil, ErrServerClosed
		}
	}
	if err != nil {
		return nil, fmt.Errorf("dirty: listen at %s: %w", path, err)
	}
	return l, nil
}

// takeOverPause is the time between two tries.
const takeOverPause = 20 * time.Millisecond

// listenForHeirs listens at the path, and at PATH.takeover. That comes first: as
// soon as the path is there a process can take over.
func (s *Server) listenForHeirs(path string) (*socketFile, error) {
	heirs, err := listenAt(path+takeOverSuffix, "unixpacket", DefaultMode, "")
	if err != nil {
		return nil, err
	}
	l, err := listenAt(path, "unix", s.Mode, s.Group)
	if err != nil {
		_ = heirs.Close()
		return nil, err
	}
	l.heirs = heirs
	return l, nil
}

// withHeirs returns a listener that other processes can take over: one of a Unix
// socket, beside whose path it listens for them.
func (s *Server) withHeirs(l net.Listener) (f *socketFile, err error) {
	switch l := l.(type) {
	case *socketFile:
		f = l
	case *net.UnixListener:
		if f, err = socketFileOf(l); err != nil {
			return nil, fmt.Errorf("dirty: Server.TakeOver: the listener at %s cannot be handed over: %w", l.Addr(), err)
		}
	default:
		return nil, fmt.Errorf("dirty: Server.TakeOver: a %T cannot be handed over, only a Unix socket of Server.Listen, SystemdListeners or net.ListenUnix", l)
	}
	if f.heirs != nil {
		return f, nil
	}
	if f.heirs, err = listenAt(f.path+takeOverSuffix, "unixpacket", DefaultMode, ""); err != nil {
		return nil, errors.Join(fmt.Errorf("dirty: listen at %s: %w", f.path+takeOverSuffix, err), f.Close())
	}
	return f, nil
}

// socketFileOf returns a listener that somebody else has made as one of ours, but
// never removes its file.
func socketFileOf(u *net.UnixListener) (*socketFile, error) {
	u.SetUnlinkOnClose(false)
	path := u.Addr().String()
	if strings.HasPrefix(path, "@") || path == "" {
		return nil, errors.New("its socket has no path")
	}
	f, err := newSocketFile(path, "unix")
	if err != nil {
		return nil, err
	}
	f.l, f.keep = u, true
	if f.info, err = f.folder.Lstat(f.name); err != nil {
		_ = f.folder.Close()
		return nil, err
	}
	return f, nil
}

// takeOver takes over the server at a path, or returns an error that matches
// errNoPredecessor.
func (s *Server) takeOver(path string) (*socketFile, error) {
	heirs, err := newSocketFile(path+takeOverSuffix, "unixpacket")
	if err != nil {
		return nil, err
	}
	nc, err := heirs.probe()
	_ = heirs.folder.Close()
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil, errNoPredecessor
	case err != nil:
		return nil, err
	}
	from, err := newLink(nc)
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	f, text, err := s.receiveOffer(from, path)
	if err == nil {
		// After the commit the running server ends, so all that can fail comes before.
		if err = s.readStash(context.Background()); err == nil {
			err = s.commit(from)
		}
		if err == nil {
			from.awaitGone()
			f.claim(text.Claimed)
			s.journal.write(slog.LevelInfo, "dirty: took a server over", slog.Int("pid", text.PID))
			go s.inherit(from)
			return f, nil
		}
		f.leave()
	}
	_ = from.Close()
	return nil, err
}

// receiveOffer receives an offer for a path whole, and restores the stash of it. It
// returns the listener, which nobody uses yet.
func (s *Server) receiveOffer(l *link, path string) (f *socketFile, text offerText, err error) {
	stash := new(restoring)
	defer func() {
		stash.abandon(err)
		if err != nil && f != nil {
			f.leave()
			f = nil
		}
	}()
	for {
		_ = l.nc.SetReadDeadline(time.Now().Add(heirTimeout))
		p, err := l.receive()
		if err != nil {
			return f, text, explainLoss(err)
		}
		switch p.kind {
		case packetOffer:
			text = offerText{}
			err := json.Unmarshal(p.body, &text)
			switch {
			case err != nil:
			case f != nil || p.lost || len(p.files) != 2:
				err = fmt.Errorf("the running server's listeners did not arrive: %d of 2", len(p.files))
			case text.Version != takeOverVersion:
				err = fmt.Errorf("the running server speaks version %d of the take-over, not %d", text.Version, takeOverVersion)
			default:
				if err = checkFiles(text.Conns); err == nil {
					f, err = listenersOf(path, text, p.files)
				}
				if err == nil {
					err = stash.begin(s, text)
				}
			}
			p.close()
			if err != nil {
				return f, text, err
			}
		case packetStash:
			if err := stash.write(p.body); err != nil {
				return f, text, err
			}
		case packetReady:
			if f == nil {
				return nil, text, errors.New("the running server has offered nothing")
			}
			return f, text, stash.finish(s)
		case packetAbort:
			return f, text, fmt.Errorf("the running server refuses: %s", p.body)
		default:
			p.close()
		}
	}
}

// spareFiles are the file descriptors that an heir needs besides those of the
// connections, to take over and to accept a few clients.
const spareFiles = 16

// checkFiles returns an error if the system gives this process too few file descriptors
// for so many connections. Later it would be too late: the running server ends.
func checkFiles(conns int) error {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return nil
	}
	open := limit.Cur // there is none left even to look at them
	switch files, err := os.ReadDir("/proc/self/fd"); {
	case err == nil:
		open = uint64(len(files))
	case !errors.Is(err, syscall.EMFILE):
		return nil // it cannot be known
	}
	if free := limit.Cur - min(open, limit.Cur); free < uint64(conns+spareFiles) {
		return fmt.Errorf("the running server has %d connections, for which this process needs %d more file descriptors, but may open only %d: raise its limit (RLIMIT_NOFILE), which is %d",
			conns, conns+spareFiles, free, limit.Cur)
	}
	return nil
}

// awaitGone waits until the server that was taken over changes the stash no more, or
// has ended. If it takes too long, this one goes on.
func (l *link) awaitGone() {
	_ = l.nc.SetReadDeadline(time.Now().Add(heirTimeout))
	for {
		p, err := l.receive()
		p.close()
		if err != nil || p.kind == packetGone {
			_ = l.nc.SetReadDeadline(time.Time{})
			return
		}
	}
}

// explainLoss says what the end of a link before the commit means.
func explainLoss(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errNoPredecessor // it has ended
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the running server does not answer: %w", err)
	}
	return err
}

// commit tells the running server that this one serves from here on. If the
// running server had given up before that, it is an error.
func (s *Server) commit(from *link) error {
	if !s.addPredecessor(from) {
		return ErrServerClosed
	}
	err := from.send(packetCommit, nil)
	if err == nil {
		return nil
	}
	s.mu.Lock()
	delete(s.predecessors, from)
	s.checkDrained()
	s.mu.Unlock()
	if p, e := from.receive(); e == nil && p.kind == packetAbort {
		return fmt.Errorf("the running server refuses: %s", p.body)
	}
	return explainLoss(err)
}

// listenersOf makes a listener of the files of an offer.
func listenersOf(path string, text offerText, files []*os.File) (f *socketFile, err error) {
	if f, err = listenerOf(path, "unix", text.Socket, files[0]); err != nil {
		return nil, err
	}
	f.keep = text.Keep
	if f.heirs, err = listenerOf(path+takeOverSuffix, "unixpacket", text.Heirs, files[1]); err != nil {
		f.leave()
		return nil, err
	}
	return f, nil
}

// listenerOf makes a listener of a file, if its socket is the one at the path.
func listenerOf(path, network string, id fileID, file *os.File) (f *socketFile, err error) {
	if f, err = newSocketFile(path, network); err != nil {
		return nil, err
	}
	if f.info, err = f.folder.Lstat(f.name); err == nil && fileIDOf(f.info) != id {
		err = fmt.Errorf("the socket at %s is not that of the running server", path)
	}
	if err == nil {
		var l net.Listener
		if l, err = net.FileListener(file); err == nil {
			if u, ok := l.(*net.UnixListener); ok {
				u.SetUnlinkOnClose(false)
				f.l = u
				return f, nil
			}
			_ = l.Close()
			err = errors.New("the running server has sent something else than its listener")
		}
	}
	_ = f.folder.Close()
	return nil, err
}

// creator returns the process that clients find as their peer: the one that has
// called listen. It is 0 if that is in a pid namespace which this one cannot see.
func (f *socketFile) creator() (pid int) {
	_ = withFD(f.l, func(fd int) error {
		cred, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		if err == nil {
			pid = int(cred.Pid)
		}
		return err
	})
	return pid
}

// isClaimed reports whether clients find this process as their peer.
func (f *socketFile) isClaimed() bool { return f.creator() == os.Getpid() }

// claim makes this process the one that clients find as their peer, if that was the
// predecessor, or is dead. Else it stays what it was, such as systemd.
func (f *socketFile) claim(wasClaimed bool) {
	pid := f.creator()
	if wasClaimed || pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		_ = withFD(f.l, func(fd int) error {
			return syscall.Listen(fd, math.MaxInt32) // the system has a bound of its own
		})
	}
}
