package cluster_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func init() { otherHosts["bridge"] = runBridge }

// runBridge passes frames between two network interfaces. It holds each one back for a
// time, and loses some at random. So a test has a long link that loses packets with any
// kernel. It prints a line when it is ready, and one when it has lost the first frame.
// The words are a duration, the share of the frames that are lost, and the interfaces.
func runBridge(words []string, ended chan<- error) error {
	delay, err := time.ParseDuration(words[0])
	if err != nil {
		return err
	}
	loss, err := strconv.ParseFloat(words[1], 64)
	if err != nil {
		return err
	}
	var ends [2]int
	for i, name := range words[2:] {
		if ends[i], err = openInterface(name); err != nil {
			return err
		}
	}
	tellLoss := sync.OnceFunc(func() { fmt.Println("lost") })
	pass := func(from, to int) {
		type frame struct {
			bytes []byte
			due   time.Time
		}
		line := make(chan frame, 1000) // a link holds only so much; what is too much is lost
		go func() {
			for f := range line {
				time.Sleep(time.Until(f.due))
				_, _ = syscall.Write(to, f.bytes) // on failure the frame is lost
			}
		}()
		for b := make([]byte, 1<<17); ; {
			n, err := syscall.Read(from, b)
			switch {
			case err == syscall.EINTR:
				continue
			case err != nil:
				ended <- os.NewSyscallError("read", err)
				return
			}
			if rand.Float64() < loss {
				tellLoss()
				continue
			}
			select {
			case line <- frame{append([]byte(nil), b[:n]...), time.Now().Add(delay)}:
			default:
				tellLoss()
			}
		}
	}
	go pass(ends[0], ends[1])
	go pass(ends[1], ends[0])
	fmt.Println("ready")
	return nil
}

// Options of packet sockets, see packet(7) and linux/if_packet.h.
const (
	packetVnetHdr        = 15 // each frame has a header that says whether its checksum is there yet
	packetIgnoreOutgoing = 23 // what we send does not come back
)

// openInterface opens a network interface for whole frames.
func openInterface(name string) (socket int, err error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0, err
	}
	all := binary.NativeEndian.Uint16([]byte{0, syscall.ETH_P_ALL})
	socket, err = syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, int(all))
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	for _, option := range []int{packetVnetHdr, packetIgnoreOutgoing} {
		if err := syscall.SetsockoptInt(socket, syscall.SOL_PACKET, option, 1); err != nil {
			return 0, os.NewSyscallError("setsockopt", err)
		}
	}
	err = syscall.Bind(socket, &syscall.SockaddrLinklayer{Protocol: all, Ifindex: i.Index})
	return socket, os.NewSyscallError("bind", err)
}
