package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The service of grpc-go. It is written by hand, because its messages are of
// types that come with protobuf.
const (
	serveGRPC  = "grpc-go"
	grpcEcho   = "/bench.Bench/Echo"
	grpcChunks = "/bench.Bench/Chunks"
)

func init() { services[serveGRPC] = serveWithGRPC }

var grpcChunksDesc = grpc.StreamDesc{StreamName: "Chunks", Handler: sendGRPCChunks, ServerStreams: true}

func serveWithGRPC(_ job, l net.Listener) error {
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Bench",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: answerGRPCEcho}},
		Streams:     []grpc.StreamDesc{grpcChunksDesc},
	}, nil)
	return s.Serve(l)
}

func answerGRPCEcho(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	text := new(wrapperspb.StringValue)
	err := decode(text)
	return text, err
}

// sendGRPCChunks answers a text with the count and the size of the chunks.
func sendGRPCChunks(_ any, s grpc.ServerStream) error {
	ask := new(wrapperspb.StringValue)
	if err := s.RecvMsg(ask); err != nil {
		return err
	}
	var count, size int
	if _, err := fmt.Sscan(ask.Value, &count, &size); err != nil {
		return err
	}
	chunk := wrapperspb.Bytes(make([]byte, size))
	for range count {
		if err := s.SendMsg(chunk); err != nil {
			return err
		}
	}
	return nil
}

// grpcClient starts the server and connects to it.
func (p *peers) grpcClient() (*grpc.ClientConn, *peer, error) {
	far, err := p.start(job{Serve: serveGRPC})
	if err != nil {
		return nil, nil, err
	}
	c, err := grpc.NewClient("unix:"+far.path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	p.closers = append(p.closers, c)
	return c, far, nil
}

// openGRPC makes unary calls.
func openGRPC(p *peers, _ int) (func(int, string) error, *peer, error) {
	c, far, err := p.grpcClient()
	return func(_ int, text string) error {
		reply := new(wrapperspb.StringValue)
		err := c.Invoke(context.Background(), grpcEcho, wrapperspb.String(text), reply)
		if err == nil && reply.Value != text {
			err = errOtherText
		}
		return err
	}, far, err
}

// openGRPCChunks reads streams of the server.
func openGRPCChunks(p *peers, size int) (func(n int) error, *peer, error) {
	c, far, err := p.grpcClient()
	return func(n int) error {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		s, err := c.NewStream(ctx, &grpcChunksDesc, grpcChunks)
		if err != nil {
			return err
		}
		if err := s.SendMsg(wrapperspb.String(fmt.Sprint(n, size))); err != nil {
			return err
		}
		if err := s.CloseSend(); err != nil {
			return err
		}
		for got := 0; ; got++ {
			chunk := new(wrapperspb.BytesValue)
			err := s.RecvMsg(chunk)
			if errors.Is(err, io.EOF) && got == n {
				return nil
			}
			if err != nil {
				return fmt.Errorf("%d chunks of %d, then %w", got, n, err)
			}
			if len(chunk.Value) != size {
				return errors.New("a chunk of another size")
			}
		}
	}, far, err
}
