package transport

import (
	"fmt"

	"github.com/gunicorn-go/dirty/bench/internal/rounds"
)

// chunkPeer is one way to send and to read a stream of chunks.
type chunkPeer struct {
	name string
	// open starts the server. The function that it returns reads a stream of n chunks
	// of a size.
	open func(p *peers, size int) (run func(n int) error, far *peer, err error)
}

const (
	chunksLibrary = serveLibrary + " → " + readLibrary
	chunksRaw     = serveLibrary + " → " + readFrames
	chunksGRPC    = "grpc-go, server streaming"
)

var chunkPeers = []chunkPeer{
	{chunksLibrary, openChunks((*peers).streamReader)},
	{chunksRaw, openChunks((*peers).frameReader)},
	{chunksGRPC, openGRPCChunks},
}

// openChunks has our server stream to one of our readers.
func openChunks(read func(p *peers, far *peer, size int) (func(n int) error, error)) func(*peers, int) (func(int) error, *peer, error) {
	return func(p *peers, size int) (func(n int) error, *peer, error) {
		far, err := p.start(job{Serve: serveLibrary})
		if err != nil {
			return nil, nil, err
		}
		run, err := read(p, far, size)
		return run, far, err
	}
}

// smallChunk is the size of the bytes in a chunk, for the goal.
const smallChunk = 20

// chunks measures streams of our library beside one of grpc-go.
func (p plan) chunks(place string, r *Results) error {
	for _, size := range []int{smallChunk, 200, 2000} {
		err := withPeers(func(peers *peers) error {
			var cases []rounds.Case
			for _, kind := range chunkPeers {
				run, far, err := kind.open(peers, size)
				if err != nil {
					return fmt.Errorf("%s: %w", kind.name, err)
				}
				cpu, err := far.cpuOfBoth()
				if err != nil {
					return err
				}
				cases = append(cases, rounds.Case{Name: kind.name, Run: run, CPU: cpu})
			}
			results, err := rounds.Measure(rounds.Wall, cases, p.rounds, callTimes*p.duration)
			r.chunks = append(r.chunks, set{place: place, size: size, results: results})
			return err
		})
		if err != nil {
			return fmt.Errorf("chunks of %d bytes: %w", size, err)
		}
	}
	return nil
}
