package dlt698

import (
	"time"

	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

// script is a line on which everything has been said already.
type script struct {
	stream []byte
	piece  int // bytes at once
}

func (s *script) Read(p []byte, _ time.Time) (int, error) {
	if len(s.stream) == 0 {
		return 0, medium.ErrSilence
	}
	n := copy(p, s.stream[:min(s.piece, len(s.stream))])
	s.stream = s.stream[n:]
	return n, nil
}

func (s *script) Write([]byte, time.Time) error { return nil }
func (s *script) Close() error                  { return nil }

func testSource() schema.Source {
	none := 0
	return schema.Source{Kind: schema.SourceDLT698, Port: "/dev/none", Baud: 9600, Timeout: schema.Duration(time.Second), Tries: 1, Preamble: &none, MaxFrame: 512}
}
