package q376

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/q376/wire"
	"gnomon/schema"
)

const (
	commandWithin = 6 * time.Second // a CCO's own answer (Q/GDW 10376.2, A.1)
	commandTries  = 2
	nodesAtOnce   = 30 // of the archive in one frame: 255 bytes, which every CCO takes
)

// command asks the CCO itself. One that keeps silent is as good as cut off.
func (p *port) command(ctx context.Context, afn wire.AFN, fn wire.Fn, data []byte) (answer wire.Frame, err error) {
	for range commandTries {
		answer, err = p.request(ctx, wire.Frame{AFN: afn, Fn: fn, Data: data}, commandWithin)
		if !errors.Is(err, collect.ErrTimeout) && !errors.Is(err, collect.ErrGarbled) || ctx.Err() != nil {
			return answer, err
		}
		var code *Denial
		if errors.As(err, &code) && !errors.Is(err, collect.ErrGarbled) {
			return answer, err
		}
	}
	if errors.Is(err, collect.ErrTimeout) {
		err = errSilent
		p.mu.Lock()
		p.drop(err)
		p.refuse(err)
		p.mu.Unlock()
	}
	return answer, err
}

// order is command for what may be denied without harm.
func (p *port) order(ctx context.Context, afn wire.AFN, fn wire.Fn, data []byte) error {
	_, err := p.command(ctx, afn, fn, data)
	var code *Denial
	if errors.As(err, &code) {
		return nil
	}
	return err
}

// ready brings line and CCO into order: after it was opened, and after the CCO
// has started anew.
func (p *port) ready(ctx context.Context) error {
	p.mu.Lock()
	told := p.told && p.line != nil
	p.mu.Unlock()
	if told {
		return nil
	}
	if err := p.session.Take(ctx, 0); err != nil {
		return err
	}
	defer p.session.Give()
	return p.prepare(ctx)
}

// restarts is how often the CCO may start anew while it is brought into order.
const restarts = 3

// prepare is ready for who has the session.
func (p *port) prepare(ctx context.Context) (err error) {
	for range restarts {
		if err = p.connect(ctx); err != nil {
			return err
		}
		if err = p.introduce(ctx); !errors.Is(err, errRestarted) {
			break
		}
	}
	return err
}

// introduce tells the CCO what it has to know, unless it does.
func (p *port) introduce(ctx context.Context) error {
	p.mu.Lock()
	told, wanted, cycles, l := p.told, p.wanted, p.cycles, p.line
	p.mu.Unlock()
	if told {
		return nil
	}
	if err := p.login(ctx); err != nil {
		return err
	}
	if cycles > 0 {
		if err := p.order(ctx, wire.AFNRouteControl, 2, nil); err != nil {
			return err
		}
	}
	if wanted != nil {
		if err := p.sync(ctx, wanted, true); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line != l || l == nil {
		return errRestarted // it was lost meanwhile
	}
	p.told, p.refused, p.waits, p.down = true, nil, 0, time.Time{}
	return nil
}

// login asks the CCO what it is. What it says of itself isn't needed; that it
// says something is.
func (p *port) login(ctx context.Context) error {
	answer, err := p.command(ctx, wire.AFNQuery, 10, nil)
	var code *Denial
	if err != nil && !errors.As(err, &code) {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.archive, p.most, p.single = nil, 0, false
	var mode wire.RunMode
	if err == nil && mode.Decode(answer.Data) == nil && mode.Nodes == 0 {
		p.archive = make(map[wire.Address]wire.Protocol)
	}
	return nil
}

// begin prepares for a cycle.
func (p *port) begin(ctx context.Context, meters []schema.Meter) (func(), error) {
	wanted := make(map[wire.Address]schema.Protocol, len(meters))
	for _, m := range meters {
		a, err := wire.ParseAddress(m.Address)
		if err != nil {
			continue // its poll will say so
		}
		wanted[a] = m.Protocol
	}
	if err := p.session.Take(ctx, 0); err != nil {
		return nil, err
	}
	defer p.session.Give()
	p.mu.Lock()
	fresh := !p.told || p.line == nil
	p.wanted = wanted
	p.cycles++
	first := p.cycles == 1
	p.mu.Unlock()
	err := p.prepare(ctx)
	if err == nil && !fresh {
		if first {
			err = p.order(ctx, wire.AFNRouteControl, 2, nil)
		}
		if err == nil {
			err = p.sync(ctx, wanted, false)
		}
	}
	if err != nil {
		p.mu.Lock()
		p.cycles--
		p.mu.Unlock()
		return nil, err
	}
	return p.end, nil
}

// resumeWithin bounds the end of a cycle: whoever stops a policy waits for it.
const resumeWithin = 2 * time.Second

// end lets the CCO route again when no cycle is under way.
func (p *port) end() {
	p.mu.Lock()
	p.cycles--
	last := p.cycles == 0 && p.told && p.line != nil
	p.mu.Unlock()
	if !last {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), resumeWithin)
	defer cancel()
	_, _ = p.request(ctx, wire.Frame{AFN: wire.AFNRouteControl, Fn: 3}, resumeWithin) // the next cycle says more of a CCO that doesn't listen
}

// sync makes the archive of the CCO what is wanted. What it has is asked for if it
// isn't known, or isn't as many as we know of.
func (p *port) sync(ctx context.Context, wanted map[wire.Address]schema.Protocol, anew bool) error {
	p.mu.Lock()
	has, keep := maps.Clone(p.archive), p.source.Archive == schema.ArchiveAdd
	p.mu.Unlock()
	if has == nil || !anew {
		answer, err := p.command(ctx, wire.AFNRouteQuery, 1, nil)
		if err != nil {
			return err
		}
		var n wire.Counts
		if bad := n.Decode(answer.Data); bad != nil || has == nil || int(n.Nodes) != len(has) {
			if has, err = p.listArchive(ctx); err != nil {
				return err
			}
		}
	}
	var surplus wire.Addresses
	var lacking []wire.Node
	for a, protocol := range has {
		want, named := wanted[a]
		if named && protocolOf(want) != protocol || !named && !keep {
			surplus = append(surplus, a[:]...)
			delete(has, a)
		}
	}
	for a, protocol := range wanted {
		if _, there := has[a]; !there {
			lacking = append(lacking, wire.Node{Address: a, Protocol: protocolOf(protocol)})
		}
	}
	slices.SortFunc(lacking, func(a, b wire.Node) int { return slices.Compare(reversed(a.Address), reversed(b.Address)) })
	err := p.change(ctx, surplus, lacking)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.archive = nil
	var code *Denial
	if errors.As(err, &code) {
		return nil // the next cycle looks again; until then meters that are lacking say so
	}
	if err == nil {
		for _, n := range lacking {
			has[n.Address] = n.Protocol
		}
		p.archive = has
	}
	return err
}

func reversed(a wire.Address) []byte { r := a.Reversed(); return r[:] }

// listArchive asks for all of the archive.
func (p *port) listArchive(ctx context.Context) (map[wire.Address]wire.Protocol, error) {
	has := make(map[wire.Address]wire.Protocol)
	for from, total := 1, 1; from <= total; from += nodesAtOnce {
		answer, err := p.command(ctx, wire.AFNRouteQuery, 2, wire.Part{From: uint16(from), Count: nodesAtOnce}.Append(nil))
		if err != nil {
			return nil, err
		}
		var l wire.NodeList
		if err := l.Decode(answer.Data); err != nil {
			return nil, errors.Join(collect.ErrGarbled, err)
		}
		total = min(int(l.Total), maxMeters)
		for i := range l.Nodes.Len() {
			if n := l.Nodes.At(i); n.Address.Check() == nil {
				has[n.Address] = n.Protocol
			}
		}
	}
	return has, nil
}

// change deletes and adds, in parts. What is there already, or gone, is as it
// should be.
func (p *port) change(ctx context.Context, surplus wire.Addresses, lacking []wire.Node) error {
	const size = len(wire.Address{})
	for len(surplus) > 0 {
		n := min(len(surplus), nodesAtOnce*size)
		data, err := wire.AppendDelete(nil, surplus[:n])
		if err != nil {
			return err
		}
		if _, err = p.command(ctx, wire.AFNRouteSet, 2, data); err != nil && !errors.Is(err, wire.DenyUnknownMeter) {
			return err
		}
		surplus = surplus[n:]
	}
	for part := range slices.Chunk(lacking, nodesAtOnce) {
		err := p.add(ctx, part)
		if errors.Is(err, wire.DenyDuplicate) { // one of them is there, and the others may not be
			for i := range part {
				if err = p.add(ctx, part[i:i+1]); err != nil && !errors.Is(err, wire.DenyDuplicate) {
					return err
				}
			}
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *port) add(ctx context.Context, nodes []wire.Node) error {
	data, err := wire.AppendNodes(nil, nodes)
	if err != nil {
		return err
	}
	_, err = p.command(ctx, wire.AFNRouteSet, 1, data)
	return err
}

// reported deals with what the CCO says of its own accord.
func (p *port) reported(l *line, f *wire.Frame) {
	answer := wire.Frame{Control: wire.HPLC.Answer(), Info: wire.Down{Sequence: f.Info.Sequence()}.Info(), AFN: wire.AFNConfirm, Fn: 1, Data: wire.ConfirmDone.Append(nil)}
	switch f.AFN {
	case wire.AFNQuery: // it has started
		p.mu.Lock()
		if p.line == l {
			p.told, p.archive = false, nil
			p.forget(errRestarted)
		}
		p.mu.Unlock()
	case wire.AFNReport:
	case wire.AFNRouteRead:
		answer.AFN, answer.Fn = f.AFN, f.Fn
		answer.Data = p.routeAnswer(f)
	default:
		answer.Fn, answer.Data = 2, []byte{byte(wire.DenyFn)}
	}
	if answer.Data != nil {
		_ = p.send(l, &answer) // a line that fails says so to whoever waits
	}
}

// routeAnswer is what a CCO is told that wants to read by itself: nothing more is
// wanted. It is told the time.
func (p *port) routeAnswer(f *wire.Frame) (data []byte) {
	switch f.Fn {
	case 1:
		data, _ = (&wire.ReadAnswer{Verdict: wire.ReadDone}).Append(nil) // fits
	case 2:
		t := time.Now()
		data, _ = wire.AppendClock(nil, wire.Clock{Year: t.Year(), Month: int(t.Month()), Day: t.Day(), Hour: t.Hour(), Minute: t.Minute(), Second: t.Second()})
	case 3:
		data, _ = wire.AppendDelayAnswer(nil, nil)
	}
	return data
}
