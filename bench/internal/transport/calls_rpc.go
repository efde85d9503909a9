package transport

import (
	"net"
	"net/rpc"
)

const serveRPC = "net/rpc"

func init() { services[serveRPC] = serveWithRPC }

// Echo is the service of net/rpc, which wants exported names.
type Echo struct{}

// Echo returns the text.
func (Echo) Echo(text string, reply *string) error {
	*reply = text
	return nil
}

func serveWithRPC(_ job, l net.Listener) error {
	s := rpc.NewServer()
	if err := s.Register(Echo{}); err != nil {
		return err
	}
	s.Accept(l)
	return nil
}

// openRPC calls with net/rpc, on one connection or on several.
func openRPC(several bool) func(p *peers, conns int) (func(int, string) error, *peer, error) {
	return func(p *peers, conns int) (func(int, string) error, *peer, error) {
		far, err := p.start(job{Serve: serveRPC})
		if err != nil {
			return nil, nil, err
		}
		if !several {
			conns = 1
		}
		clients := make([]*rpc.Client, conns)
		for i := range clients {
			c, err := rpc.Dial("unix", far.path)
			if err != nil {
				return nil, nil, err
			}
			p.closers = append(p.closers, c)
			clients[i] = c
		}
		return func(caller int, text string) error {
			var reply string
			err := clients[caller%conns].Call("Echo.Echo", text, &reply)
			if err == nil && reply != text {
				err = errOtherText
			}
			return err
		}, far, nil
	}
}
