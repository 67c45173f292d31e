package modbus

import (
	"errors"
	"fmt"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

// rtu carries RTU frames. It implements goburrow's Transporter.
//
// RTU frames have no transaction number: an answer that comes late looks like
// the answer to the next request of the same shape. So after anything went
// wrong, and after the port was opened, the line is first listened to until it
// has been silent for a whole timeout; and the next answer is believed only if
// nothing follows it for a whole timeout either, because if it was the late one,
// the true one is still to come. A device answers in order, so this holds
// however late it is; of a serial server that doesn't, up to four timeouts.
type rtu struct {
	source   schema.Source
	line     medium.Line
	open     func(schema.Source) (medium.Line, error) // nil = medium.Open
	suspect  bool                                     // an answer may still be under way
	lastSent time.Time                                // for the pause between requests
}

// Send implements goburrow's Transporter.
func (t *rtu) Send(request []byte) ([]byte, error) {
	if err := t.prepare(); err != nil {
		return nil, err
	}
	doubtful := t.suspect
	t.suspect = true // until the answer is in
	timeout := t.source.Timeout.D()
	deadline := time.Now().Add(timeout)
	// The answer's time limit is none for handing over a few bytes, which takes
	// long only on a machine that is busy, or on a connection that is dead.
	if err := t.line.Write(request, deadline.Add(time.Second)); err != nil {
		return nil, t.broken(err)
	}
	t.lastSent = time.Now()
	frame, err := t.receive(request, deadline)
	if err != nil {
		return nil, t.broken(err)
	}
	t.lastSent = time.Now()
	if doubtful {
		if err := t.silent(timeout); err != nil {
			return nil, t.broken(fmt.Errorf("%w: two answers to one request", collect.ErrGarbled))
		}
	}
	t.suspect = false
	return frame, nil
}

// rest is how many timeouts an answer is waited for that was given up, so that
// it isn't taken for another's.
const rest = 2

// prepare opens the line, or brings it to rest after a failure, or gives its
// devices the pause they need and throws away what came unasked.
func (t *rtu) prepare() error {
	if t.line == nil {
		open := t.open
		if open == nil {
			open = medium.Open
		}
		l, err := open(t.source)
		if err != nil {
			return err
		}
		t.line, t.suspect = l, true
	}
	quiet := time.Duration(0)
	if t.suspect {
		quiet = rest * t.source.Timeout.D()
	} else if wait := t.source.Pause.D() - time.Since(t.lastSent); wait > 0 {
		time.Sleep(wait) // bounded by schema
	}
	if err := t.drain(quiet); err != nil {
		return t.broken(err)
	}
	return nil
}

// drain reads until nothing has come for quiet. A line that never rests is
// given up on after ten times that.
func (t *rtu) drain(quiet time.Duration) error {
	var buf [rtuMaxFrame]byte
	limit := time.Now().Add(10*quiet + time.Second)
	for time.Now().Before(limit) {
		_, err := t.line.Read(buf[:], time.Now().Add(quiet))
		if errors.Is(err, medium.ErrSilence) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: the line does not come to rest", collect.ErrGarbled)
}

// silent fails if anything comes within d.
func (t *rtu) silent(d time.Duration) error {
	var buf [1]byte
	_, err := t.line.Read(buf[:], time.Now().Add(d))
	if errors.Is(err, medium.ErrSilence) {
		return nil
	}
	if err == nil {
		err = errForeign
	}
	return err
}

// receive reads the answer to a request. Anything else on the line, such as a
// late frame from a request that was given up, ends the wait: where frames
// follow each other nothing tells which one is ours.
func (t *rtu) receive(request []byte, deadline time.Time) ([]byte, error) {
	frame := make([]byte, 0, rtuMaxFrame)
	var buf [rtuMaxFrame]byte
	for {
		n, err := t.line.Read(buf[:], deadline)
		if errors.Is(err, medium.ErrSilence) {
			if len(frame) > 0 {
				return nil, fmt.Errorf("%w: cut after %d bytes", collect.ErrGarbled, len(frame))
			}
			return nil, collect.ErrTimeout
		}
		if err != nil {
			return nil, err
		}
		if len(frame)+n > rtuMaxFrame {
			return nil, fmt.Errorf("%w: longer than any frame", collect.ErrGarbled)
		}
		frame = append(frame, buf[:n]...)
		want, err := rtuLength(request, frame)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", collect.ErrGarbled, err)
		}
		switch {
		case want == 0 || len(frame) < want:
		case len(frame) > want:
			return nil, fmt.Errorf("%w: %d bytes after the answer", collect.ErrGarbled, len(frame)-want)
		default:
			return frame, checkRTU(frame)
		}
	}
}

// broken notes that the line is in doubt, and closes it if it failed as such.
func (t *rtu) broken(err error) error {
	t.suspect = true
	if errors.Is(err, collect.ErrLink) {
		t.close()
	}
	return err
}

func (t *rtu) close() {
	if t.line != nil {
		t.line.Close()
		t.line = nil
	}
}
