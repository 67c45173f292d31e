// Command web serves by HTTP on a port that several of it may share, until it is
// asked to end; then it answers what it has begun to. It tells which round it is of.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	round := os.Getenv("ROUND")
	if os.Getenv("BROKEN") != "" {
		time.Sleep(100 * time.Millisecond)
		os.Exit(3)
	}
	asked, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		if cerr != nil {
			return cerr
		}
		return err
	}}
	l, err := c.Listen(asked, "tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Not by its Shutdown, which drops requests that it hasn't read yet.
	var open sync.WaitGroup
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, round) })}
	s.SetKeepAlivesEnabled(false)
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Done()
		}
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	<-asked.Done()
	_ = l.Close()
	<-served
	open.Wait()
}
