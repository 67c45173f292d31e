// Command peer is what tests run in containers where a shell is not enough.
//
//	peer serve PORT    answers over TCP and UDP with the name of its host
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		serve(os.Args[2])
	}
	fmt.Fprintln(os.Stderr, "usage: peer serve PORT")
	os.Exit(2)
}

func serve(port string) {
	name, _ := os.Hostname()
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	packets, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("up")
	go func() {
		buf := make([]byte, 1024)
		for {
			_, from, err := packets.ReadFrom(buf)
			if err == nil {
				_, _ = packets.WriteTo([]byte("answer from "+name+"\n"), from)
			}
		}
	}()
	for {
		c, err := listener.Accept()
		if err != nil {
			continue
		}
		fmt.Fprintf(c, "answer from %s\n", name)
		c.Close()
	}
}
