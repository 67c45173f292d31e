package station

import (
	"errors"
	"slices"
	"time"

	"gnomon/edge/collect/q376/wire"
)

// concurrent is F1H-F1: the meter is read beside others, if the limits allow.
func (s *Station) concurrent(l *line, f *wire.Frame) {
	var r wire.ConcurrentRead
	if f.Fn != 1 || !f.Info.HasAddress() {
		s.deny(l, f, wire.DenyFn)
		return
	}
	if err := r.Decode(f.Data); err != nil {
		s.deny(l, f, wire.DenyFormat)
		return
	}
	if err := r.Check(s.cfg.Limits); err != nil {
		code := wire.DenyFormat
		errors.As(err, &code)
		s.deny(l, f, code)
		return
	}
	meter := f.Destination
	s.mu.Lock()
	run := s.run
	_, twice := s.busy[meter]
	known := slices.ContainsFunc(s.archive, func(n wire.Node) bool { return n.Address == meter })
	full := len(s.busy) >= s.cfg.Limits.Meters
	if known && !twice && !full {
		s.busy[meter] = run
		s.status.Reads++
		s.status.Most = max(s.status.Most, len(s.busy))
	}
	s.mu.Unlock()
	switch {
	case !known:
		s.deny(l, f, wire.DenyUnknownMeter)
	case twice:
		s.deny(l, f, wire.DenyMeterBusy)
	case full:
		s.deny(l, f, wire.DenyTooManyMeters)
	default:
		request := *f
		s.begin(func() { s.readBeside(&request, r, run) })
	}
}

// readBeside reads a meter and says what came of it, to whoever is attached by then.
func (s *Station) readBeside(f *wire.Frame, r wire.ConcurrentRead, run int) {
	content := s.reach(f.Destination, r.Protocol, r.Content, run)
	s.mu.Lock()
	l, same := s.line, run == s.run
	if same {
		delete(s.busy, f.Destination)
	}
	main := s.main
	s.mu.Unlock()
	if !same || s.ctx.Err() != nil {
		return // the CCO has started anew since
	}
	reply := wire.ConcurrentReply{Protocol: r.Protocol, Content: content}
	data, err := reply.Append(nil)
	if err != nil {
		return
	}
	s.respond(l, f, s.ofMeter(f, main, len(content) > 0, data))
}

// ofMeter is an answer in the name of the meter that was asked.
func (s *Station) ofMeter(f *wire.Frame, main wire.Address, read bool, data []byte) *wire.Frame {
	up := wire.Up{Address: true, Sequence: f.Info.Sequence()}
	meter := s.number[f.Destination]
	if read && meter != nil {
		up.Phase, up.CommandQuality, up.ReplyQuality = byte(meter.Phase), 12, 12
	}
	a := s.answer(f, f.AFN, f.Fn, data)
	a.Info, a.Source, a.Destination = up.Info(), f.Destination, main
	if s.cfg.Reversed {
		a.Source = a.Source.Reversed()
	}
	return a
}

// demand is 13H-F1 and 02H-F1: one meter is read now.
func (s *Station) demand(l *line, f *wire.Frame) {
	var r wire.Monitor
	var err error
	if f.AFN == wire.AFNForward {
		var forward wire.Forward
		err = forward.Decode(f.Data)
		r.Protocol, r.Content = forward.Protocol, forward.Content
	} else {
		err = r.Decode(f.Data)
	}
	switch {
	case f.Fn != 1 || !f.Info.HasAddress():
		s.deny(l, f, wire.DenyFn)
		return
	case err != nil || len(r.Content) == 0:
		s.deny(l, f, wire.DenyFormat)
		return
	}
	s.count(func(t *Status) { t.OnDemand++ })
	s.mu.Lock()
	run := s.run
	s.mu.Unlock()
	request := *f
	s.begin(func() { s.readOnDemand(&request, r, run) })
}

func (s *Station) readOnDemand(f *wire.Frame, r wire.Monitor, run int) {
	began := time.Now()
	content := s.reach(f.Destination, r.Protocol, r.Content, run)
	s.mu.Lock()
	l, same, main := s.line, run == s.run, s.main
	s.mu.Unlock()
	if !same || s.ctx.Err() != nil {
		return
	}
	if content == nil {
		s.deny(l, f, wire.DenyNoNodeAnswer)
		return
	}
	var data []byte
	var err error
	if f.AFN == wire.AFNForward {
		data, err = (&wire.Forward{Protocol: r.Protocol, Content: content}).Append(nil)
	} else {
		data, err = (&wire.MonitorReply{Delay: uint16(time.Since(began) / time.Second), Protocol: r.Protocol, Content: content}).Append(nil)
	}
	if err == nil {
		s.respond(l, f, s.ofMeter(f, main, true, data))
	}
}

// reach carries frames to a meter and its answers back, as often as the CCO tries.
// nil = it gave up.
func (s *Station) reach(address wire.Address, p wire.Protocol, content []byte, run int) []byte {
	began := time.Now()
	m := s.number[address]
	for s.ctx.Err() == nil {
		attempt := time.Now()
		if m != nil {
			if answer := s.attempt(m, p, content); answer != nil {
				s.note(address, true)
				return answer
			}
		}
		s.mu.Lock()
		stale := run != s.run
		s.mu.Unlock()
		left := s.cfg.GiveUp - time.Since(began)
		if stale || left <= 0 || !s.sleep(min(left, s.cfg.Resend-time.Since(attempt))) {
			break
		}
		if time.Since(began) >= s.cfg.GiveUp {
			break
		}
	}
	s.note(address, false)
	return nil
}

func (s *Station) note(address wire.Address, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stat := s.perRead[address]
	if ok {
		stat.ok++
		s.status.Answered++
	} else {
		stat.failed++
		s.status.Failed++
	}
	if s.number[address] != nil {
		s.perRead[address] = stat
	}
}

// attempt carries frames there and back once.
func (s *Station) attempt(m *Meter, p wire.Protocol, content []byte) []byte {
	frames := 0
	var out []byte
	there := time.Duration(m.Hops) * s.cfg.HopDelay
	if !s.sleep(there) || s.unlucky(m) || s.Dead(m) {
		return nil
	}
	for rest := content; len(rest) > 0; {
		f, next, err := wire.NextMeterFrame(p, rest)
		if err != nil {
			break
		}
		rest = next
		frames++
		if !s.sleep(s.cfg.MeterDelay) {
			return nil
		}
		if m.Protocol == p || p == wire.Transparent {
			out = append(out, m.Answer(f.Bytes, s.cfg.Now())...)
		}
	}
	s.count(func(t *Status) { t.Frames += frames })
	if !s.sleep(there) || s.unlucky(m) || len(out) == 0 {
		return nil
	}
	return out
}

// unlucky decides whether a frame gets lost: half of the loss is on either way.
func (s *Station) unlucky(m *Meter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := m.luck.Float64() < s.cfg.Loss/2
	if lost {
		s.status.Lost++
	}
	return lost
}

// ask is what a CCO does that may route: it goes round its archive and asks what
// to read.
func (s *Station) ask(l *line) {
	for s.sleep(s.cfg.Ask) {
		s.mu.Lock()
		if s.line != l {
			s.mu.Unlock()
			return
		}
		var query []byte
		for i := 0; s.routing && i < len(s.archive); i++ {
			n := s.archive[(s.next+i)%len(s.archive)]
			if s.done[n.Address] {
				continue
			}
			s.next = (s.next + i + 1) % len(s.archive)
			query, _ = wire.ReadQuery{Meter: n.Address, Index: uint16(s.next)}.Append(nil) // addresses were checked
			break
		}
		s.mu.Unlock()
		if query != nil {
			s.report(l, wire.AFNRouteRead, 1, query)
		}
	}
}

// told is 14H down: what to read from the meter asked about last.
func (s *Station) told(l *line, f *wire.Frame) {
	var a wire.ReadAnswer
	if f.Fn != 1 {
		return // the clock: it is taken as it is
	}
	if a.Decode(f.Data) != nil {
		s.deny(l, f, wire.DenyFormat)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.archive) == 0 {
		return
	}
	n := s.archive[(s.next+len(s.archive)-1)%len(s.archive)]
	if a.Verdict != wire.ReadThis {
		s.done[n.Address] = true
		return
	}
	run, index := s.run, uint16(s.next)
	if !s.closed {
		s.jobs.Go(func() { s.readRouted(n, a.Content, index, run) })
	}
}

// readRouted reads what the concentrator told, and reports it (06H-F2).
func (s *Station) readRouted(n wire.Node, content []byte, index uint16, run int) {
	answer := s.reach(n.Address, n.Protocol, content, run)
	s.mu.Lock()
	l, same := s.line, run == s.run
	if same && answer != nil {
		s.done[n.Address] = true
	}
	s.mu.Unlock()
	if !same || answer == nil || l == nil {
		return
	}
	if data, err := (&wire.ReadReport{Index: index, Protocol: n.Protocol, Content: answer}).Append(nil); err == nil {
		s.report(l, wire.AFNReport, 2, data)
	}
}
