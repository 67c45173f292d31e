package q376

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/dlt645"
	"gnomon/edge/collect/q376/wire"
	"gnomon/schema"
)

// carrier takes the requests of one poll to a meter.
type carrier struct {
	*port
	source  schema.Source // as whoever polls has it: policies may differ in time limits
	meter   *meter
	demand  bool
	until   time.Time // the meter's turn ends
	frames  int
	answers int
}

// Most implements dlt645.Carrier.
func (c *carrier) Most() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.demand || c.single:
		return 1
	case c.most > 0:
		return min(c.most, c.source.FramesPerRead)
	}
	return c.source.FramesPerRead
}

// What a meter may be denied before its turn ends.
const (
	waitMin  = 500 * time.Millisecond
	waitMax  = 16 * time.Second
	maxWaits = 8
)

// Carry implements dlt645.Carrier and dlt698.Carrier: it asks as often as the
// source allows, and as there is time. A meter that failed the last time is
// asked once. Waiting until the CCO has room is no try.
func (c *carrier) Carry(ctx context.Context, content []byte, n int) (answer []byte, err error) {
	tries := c.source.Tries
	if c.meter.failed {
		tries = 1
	}
	added := false
	for try, waits := 0, 0; ; {
		if err = ctx.Err(); err != nil {
			return nil, err
		}
		if answer, err = c.once(ctx, content); err == nil {
			c.fine()
			c.answers++
			return answer, nil
		}
		var code *Denial
		switch {
		case errors.As(err, &code):
			switch c.react(code.Code.Standard(), n) {
			case fewer:
				return nil, fmt.Errorf("%w: %w", dlt645.ErrTooMany, err)
			case addMeter:
				if added || c.join(ctx) != nil {
					return nil, err
				}
				added = true
				continue
			case wait:
				pause := min(waitMin<<waits, waitMax)
				if waits++; waits > maxWaits || time.Now().Add(pause).After(c.until) || !sleep(ctx, pause) {
					return nil, err
				}
				continue
			case final:
				return nil, err
			}
		case errors.Is(err, collect.ErrTimeout) && !errors.Is(err, errUnread):
			// Not even a failure: is the CCO still there?
			if _, silent := c.command(ctx, wire.AFNRouteQuery, 1, nil); errors.Is(silent, errSilent) {
				return nil, silent
			}
			return nil, err // the turn is over
		case errors.Is(err, collect.ErrLink):
			if ready := c.ready(ctx); ready != nil {
				return nil, ready
			}
		}
		if try++; try >= tries || !time.Now().Before(c.until) {
			return nil, err
		}
	}
}

// reaction is what follows a denial.
type reaction int

const (
	final    reaction = iota // it is the same next time
	again                    // it may be otherwise next time
	wait                     // and not at once
	fewer                    // with fewer meter frames
	addMeter                 // once the CCO knows the meter
)

// react learns from a denial of a request for n meter frames.
func (c *carrier) react(code wire.Deny, n int) reaction {
	switch code {
	case wire.DenyTooManyMeters:
		c.crowded()
		return wait
	case wire.DenyBusy, wire.DenyMeterBusy:
		return wait
	case wire.DenyTooManyFrames, wire.DenyLength:
		if n > 1 {
			c.tooLong(n)
			return fewer
		}
		return again
	case wire.DenyUnknownMeter:
		return addMeter
	case wire.DenyFn, wire.DenyUnsupported:
		c.mu.Lock()
		first := !c.single && !c.demand
		c.single = c.single || first
		c.mu.Unlock()
		if first && n > 1 {
			return fewer
		}
		if first {
			return again
		}
		return final
	case wire.DenyTimeout, wire.DenyChecksum, wire.DenyNoMeterAnswer, wire.DenyNoNodeAnswer, wire.DenyNotInNetwork:
		return again
	}
	return final
}

// join makes the CCO know the meter.
func (c *carrier) join(ctx context.Context) error {
	if err := c.session.Take(ctx, 0); err != nil {
		return err
	}
	defer c.session.Give()
	err := c.add(ctx, []wire.Node{{Address: c.meter.address, Protocol: c.meter.protocol}})
	if errors.Is(err, wire.DenyDuplicate) {
		return nil
	}
	return err
}

// once asks once. Of a CCO that gives up on the meter it is an errUnread.
func (c *carrier) once(ctx context.Context, content []byte) ([]byte, error) {
	c.mu.Lock()
	demand := c.demand || c.single
	c.mu.Unlock()
	patience := max(time.Until(c.until), time.Second) + c.source.Timeout.D()/10 // a CCO that gives up in time says so a little later
	c.frames++
	if demand {
		return c.monitor(ctx, content, patience)
	}
	data, err := (&wire.ConcurrentRead{Protocol: c.meter.protocol, Content: content}).Append(nil)
	if err != nil {
		return nil, err
	}
	f, err := c.request(ctx, wire.Frame{Destination: c.meter.address, AFN: wire.AFNConcurrent, Fn: 1, Data: data}, patience)
	if err != nil {
		return nil, err
	}
	var r wire.ConcurrentReply
	if f.AFN == wire.AFNConfirm || r.Decode(f.Data) != nil {
		return nil, fmt.Errorf("%w: no reply to a concurrent reading", collect.ErrGarbled)
	}
	return c.check(r.Protocol, r.Content)
}

// monitor reads the meter ahead of all that are read at once.
func (c *carrier) monitor(ctx context.Context, content []byte, patience time.Duration) ([]byte, error) {
	data, err := (&wire.Monitor{Protocol: c.meter.protocol, Content: content}).Append(nil)
	if err != nil {
		return nil, err
	}
	f, err := c.request(ctx, wire.Frame{Destination: c.meter.address, AFN: wire.AFNMonitor, Fn: 1, Data: data}, patience)
	if err != nil {
		return nil, err
	}
	var r wire.MonitorReply
	if f.AFN == wire.AFNConfirm || r.Decode(f.Data) != nil {
		return nil, fmt.Errorf("%w: no reply to a reading on demand", collect.ErrGarbled)
	}
	return c.check(r.Protocol, r.Content)
}

// check takes carried frames if they are of the meter.
func (c *carrier) check(p wire.Protocol, content []byte) ([]byte, error) {
	if len(content) == 0 {
		return nil, errUnread
	}
	if p != c.meter.protocol && p != wire.Transparent {
		return nil, fmt.Errorf("%w: answered with %v", collect.ErrGarbled, p)
	}
	if err := wire.CheckMeter(c.meter.protocol, content, c.meter.address); err != nil {
		return nil, fmt.Errorf("%w: %w", collect.ErrGarbled, err)
	}
	return content, nil
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
