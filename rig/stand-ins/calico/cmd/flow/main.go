// Command flow is both ends of a packet in check.sh: it serves ports in a pod, and tries to reach one from another pod.
//
//	flow serve
//	flow tcp|udp ADDRESS:PORT
//
// An attempt prints one word. PASS is an answer, DENIED is silence until the deadline, which is what a dropped packet
// looks like. Anything else (a refusal, no route, a name that does not resolve) is OTHER with the reason: it proves
// nothing about a policy.
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"
)

// deadline is how long silence has to last. An answer takes a millisecond; a lost first packet is sent again after one
// second.
const deadline = 1500 * time.Millisecond

var (
	tcpPorts = []string{"8080", "8081", "8090"}
	udpPort  = "5353"
)

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		log.Fatal(serve())
	case len(os.Args) == 3 && (os.Args[1] == "tcp" || os.Args[1] == "udp"):
		fmt.Println(outcome(attempt(os.Args[1], os.Args[2])))
	default:
		log.Fatal("usage: flow serve | flow tcp|udp ADDRESS:PORT")
	}
}

func outcome(err error) string {
	var network net.Error
	switch {
	case err == nil:
		return "PASS"
	case errors.As(err, &network) && network.Timeout():
		return "DENIED"
	default:
		return "OTHER " + err.Error()
	}
}

// attempt opens a connection. That is an answer for TCP, whatever is spoken on it; with UDP a word has to come back.
func attempt(network, address string) error {
	connection, err := net.DialTimeout(network, address, deadline)
	if err != nil {
		return err
	}
	defer connection.Close()
	if network == "tcp" {
		return nil
	}
	if err := connection.SetDeadline(time.Now().Add(deadline)); err != nil {
		return err
	}
	if _, err := connection.Write([]byte("ping")); err != nil {
		return err
	}
	_, err = io.ReadFull(connection, make([]byte, len("ping")))
	return err
}

func serve() error {
	failed := make(chan error)
	for _, port := range tcpPorts {
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		go func() { failed <- echoStreams(listener) }()
	}
	packets, err := net.ListenPacket("udp", ":"+udpPort)
	if err != nil {
		return err
	}
	go func() { failed <- echoPackets(packets) }()
	return <-failed
}

func echoStreams(listener net.Listener) error {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			_, _ = io.Copy(connection, connection) // the caller may leave at any time
		}()
	}
}

func echoPackets(packets net.PacketConn) error {
	buffer := make([]byte, 1500)
	for {
		length, sender, err := packets.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if _, err := packets.WriteTo(buffer[:length], sender); err != nil {
			return err
		}
	}
}
