package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// HTTP describes workers that post over connections kept alive, one request at
// a time each.
type HTTP struct {
	Address string
	Workers int
	// Request returns a worker's path and body, and where within the body eight
	// digits count up.
	Request func(worker int) (path string, body []byte, digits int)
}

// Posters are connected workers.
type Posters struct{ workers []*poster }

type poster struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	digits  []byte
	n       uint64
}

// Connect connects all workers.
func (h HTTP) Connect(ctx context.Context) (*Posters, error) {
	all := &Posters{}
	for i := range h.Workers {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", h.Address)
		if err != nil {
			all.Close()
			return nil, err
		}
		path, body, digits := h.Request(i)
		head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, len(body))
		p := &poster{conn: conn, in: bufio.NewReaderSize(conn, 4096), request: append([]byte(head), body...), n: uint64(i)}
		p.digits = p.request[len(head)+digits : len(head)+digits+8]
		all.workers = append(all.workers, p)
	}
	return all, nil
}

// Run posts for d and returns how many were answered with 200 within it.
func (a *Posters) Run(d time.Duration) (operations int64, err error) {
	var stop atomic.Bool
	var total atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, len(a.workers))
	for i, p := range a.workers {
		group.Go(func() {
			for !stop.Load() {
				if errs[i] = p.post(); errs[i] != nil {
					return
				}
				total.Add(1)
			}
		})
	}
	timer := time.NewTimer(d)
	<-timer.C
	stop.Store(true)
	group.Wait()
	return total.Load(), errors.Join(errs...)
}

// Post makes one request of the first worker.
func (a *Posters) Post() error { return a.workers[0].post() }

func (p *poster) post() error {
	p.n++
	decimal(p.digits, p.n)
	if _, err := p.conn.Write(p.request); err != nil {
		return err
	}
	status, err := p.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	ok := bytes.HasPrefix(status, []byte("HTTP/1.1 200"))
	line := string(bytes.TrimSpace(status))
	length := -1
	for {
		header, err := p.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(header) <= 2 {
			break
		}
		if value, found := bytes.CutPrefix(header, []byte("Content-Length: ")); found {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("answer without Content-Length")
	}
	if !ok {
		body, _ := io.ReadAll(io.LimitReader(p.in, int64(min(length, 300))))
		return fmt.Errorf("%s: %s", line, body)
	}
	_, err = p.in.Discard(length)
	return err
}

// Close disconnects all.
func (a *Posters) Close() {
	for _, p := range a.workers {
		p.conn.Close()
	}
}
