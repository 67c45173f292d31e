package station

import (
	"encoding/binary"
	"slices"

	"gnomon/edge/collect/q376/wire"
)

// answer is a frame of the CCO that answers another.
func (s *Station) answer(f *wire.Frame, afn wire.AFN, fn wire.Fn, data []byte) *wire.Frame {
	return &wire.Frame{
		Control: wire.HPLC.Reply(), Info: wire.Up{Sequence: f.Info.Sequence()}.Info(), AFN: afn, Fn: fn, Data: data,
	}
}

// respond says what answers a request, unless the fault has something else in mind.
func (s *Station) respond(l *line, request, f *wire.Frame) {
	good, err := f.Append(nil)
	if err != nil || l == nil {
		return
	}
	if s.cfg.Fault == nil {
		s.say(l, good)
		return
	}
	s.mu.Lock()
	n := s.said
	s.said++
	s.mu.Unlock()
	for _, said := range s.cfg.Fault(n, request, good) {
		if said.After == 0 {
			s.say(l, said.Bytes)
			continue
		}
		s.begin(func() {
			if s.sleep(said.After) {
				s.mu.Lock()
				now := s.line // whoever is attached by then
				s.mu.Unlock()
				if now != nil {
					s.say(now, said.Bytes)
				}
			}
		})
	}
}

func (s *Station) confirm(l *line, f *wire.Frame) {
	s.respond(l, f, s.answer(f, wire.AFNConfirm, 1, wire.ConfirmDone.Append(nil)))
}

func (s *Station) deny(l *line, f *wire.Frame, code wire.Deny) {
	if s.cfg.VendorCodes && code >= wire.DenyTooManyMeters {
		code = code - wire.DenyTooManyMeters + 13
	}
	s.count(func(t *Status) { t.Denied[byte(code)]++ })
	s.respond(l, f, s.answer(f, wire.AFNConfirm, 2, []byte{byte(code)}))
}

// take does what a frame of the concentrator asks for.
func (s *Station) take(l *line, f *wire.Frame) {
	if f.Control.Up() {
		return // an echo
	}
	s.count(func(t *Status) { t.Requests++ })
	f.Data = slices.Clone(f.Data)
	switch f.AFN {
	case wire.AFNConfirm:
		s.count(func(t *Status) { t.Confirmed++ })
	case wire.AFNInitialize:
		s.initialize(l, f)
	case wire.AFNTest, wire.AFNControl:
		s.control(l, f)
	case wire.AFNQuery:
		s.query(l, f)
	case wire.AFNRouteQuery:
		s.routeQuery(l, f)
	case wire.AFNRouteSet:
		s.routeSet(l, f)
	case wire.AFNRouteControl:
		s.routeControl(l, f)
	case wire.AFNForward, wire.AFNMonitor:
		s.demand(l, f)
	case wire.AFNRouteRead:
		s.told(l, f)
	case wire.AFNConcurrent:
		s.concurrent(l, f)
	default:
		s.deny(l, f, wire.DenyFn)
	}
}

// initialize is 01H: the hardware starts anew, parameters and archive are
// forgotten, or what was read is.
func (s *Station) initialize(l *line, f *wire.Frame) {
	if f.Fn < 1 || f.Fn > 3 {
		s.deny(l, f, wire.DenyFn)
		return
	}
	s.mu.Lock()
	switch f.Fn {
	case 2:
		s.archive = nil
		fallthrough
	case 3:
		clear(s.done)
		s.next = 0
	}
	s.mu.Unlock()
	s.confirm(l, f)
	if f.Fn == 1 {
		s.Restart()
	}
}

// control is 04H and 05H: things that a master may set and that change nothing here,
// but for the address of the main node.
func (s *Station) control(l *line, f *wire.Frame) {
	switch {
	case f.Fn < 1 || f.Fn > 4:
		s.deny(l, f, wire.DenyFn)
		return
	case f.AFN == wire.AFNControl && f.Fn == 1:
		if len(f.Data) != len(wire.Address{}) || wire.Address(f.Data).Check() != nil {
			s.deny(l, f, wire.DenyFormat)
			return
		}
		s.mu.Lock()
		s.main = wire.Address(f.Data)
		s.mu.Unlock()
	}
	s.confirm(l, f)
}

// version is what the CCO says it is.
var version = wire.Version{Vendor: [2]byte{'N', 'G'}, Chip: [2]byte{'M', 'I'}, Date: [3]byte{0x01, 0x01, 0x26}, Number: [2]byte{0x00, 0x01}}

// query is 03H: what the CCO is.
func (s *Station) query(l *line, f *wire.Frame) {
	switch f.Fn {
	case 1:
		s.respond(l, f, s.answer(f, f.AFN, f.Fn, version.Append(nil)))
	case 4:
		s.mu.Lock()
		main := s.main
		s.mu.Unlock()
		s.respond(l, f, s.answer(f, f.AFN, f.Fn, main[:]))
	case 10:
		if data, err := s.mode(); err == nil {
			s.respond(l, f, s.answer(f, f.AFN, f.Fn, data))
		}
	default:
		s.deny(l, f, wire.DenyFn)
	}
}

// mode is 03H-F10 up.
func (s *Station) mode() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := wire.RunMode{
		Mode: [6]byte{0x03 | 1<<4 | 1<<5}, MonitorTimeout: 90, BroadcastTimeout: 60, MaxFrame: uint16(wire.MaxFrame), MaxFilePart: 256, UpgradeWait: 10,
		MainNode: s.main, Capacity: MaxMeters, Nodes: uint16(len(s.archive)),
		Released: [3]byte{0x26, 0x01, 0x01}, Filed: [3]byte{0x26, 0x01, 0x01}, Version: version,
	}
	return m.Append(nil)
}

// reportMode tells the concentrator that the CCO has started.
func (s *Station) reportMode(l *line) {
	data, err := s.mode()
	if err != nil {
		return
	}
	s.report(l, wire.AFNQuery, 10, data)
}

// report says something of the CCO's own accord.
func (s *Station) report(l *line, afn wire.AFN, fn wire.Fn, data []byte) {
	s.mu.Lock()
	s.status.reports++
	sequence := byte(s.status.reports)
	s.mu.Unlock()
	f := wire.Frame{Control: wire.HPLC.Report(), Info: wire.Up{Sequence: sequence}.Info(), AFN: afn, Fn: fn, Data: data}
	if out, err := f.Append(nil); err == nil {
		s.say(l, out)
	}
}

// routeQuery is 10H: of the archive and the topology.
func (s *Station) routeQuery(l *line, f *wire.Frame) {
	s.mu.Lock()
	archive := slices.Clone(s.archive)
	routing, done := s.routing, len(s.done)
	s.mu.Unlock()
	var data []byte
	switch f.Fn {
	case 1:
		data = wire.Counts{Nodes: uint16(len(archive)), Capacity: MaxMeters}.Append(nil)
	case 4:
		state := byte(0)
		if routing {
			state = 1<<1 | 1 // routing is done, and it works
		}
		data = append(data, state)
		data = binary.LittleEndian.AppendUint16(data, uint16(len(archive)))
		data = binary.LittleEndian.AppendUint16(data, uint16(done))
		data = binary.LittleEndian.AppendUint16(data, 0) // read through relays
		data = append(data, 0)                           // switches of work
		data = binary.LittleEndian.AppendUint16(data, 0)
		data = append(append(data, 0, 0, 0), 8, 8, 8) // relay levels, work steps of the phases
	case 2, 5, 21, 31:
		var part wire.Part
		if part.Decode(f.Data) != nil || part.From < 1 {
			s.deny(l, f, wire.DenyFormat)
			return
		}
		data = s.list(f.Fn, part, archive)
	default:
		s.deny(l, f, wire.DenyFn)
		return
	}
	if data == nil {
		s.deny(l, f, wire.DenyFormat)
		return
	}
	s.respond(l, f, s.answer(f, f.AFN, f.Fn, data))
}

// list is a part of a list: of the archive (F2), of those not read yet (F5), of
// the topology (F21) or of phases (F31). The last two count the main node as 1.
func (s *Station) list(fn wire.Fn, part wire.Part, archive []wire.Node) []byte {
	if fn == 5 {
		s.mu.Lock()
		archive = slices.DeleteFunc(archive, func(n wire.Node) bool { return s.done[n.Address] })
		s.mu.Unlock()
	}
	if fn == 2 || fn == 5 {
		l := wire.NodeList{Total: uint16(len(archive))}
		for _, n := range cut(archive, int(part.From)-1, int(part.Count)) {
			state := wire.NodeState{Address: n.Address, Protocol: n.Protocol}
			if m := s.number[n.Address]; m != nil {
				state.RelayLevel, state.Quality, state.Phases = byte(min(m.Hops-1, 15)), 12, 1<<(m.Phase-1)
			}
			l.Nodes = l.Nodes.AppendState(state)
		}
		out, err := l.Append(nil)
		if err != nil {
			return nil
		}
		return out
	}
	s.mu.Lock()
	main := s.main
	s.mu.Unlock()
	all := append([]wire.Node{{Address: main}}, archive...)
	some := cut(all, int(part.From)-1, int(part.Count))
	out := binary.LittleEndian.AppendUint16(nil, uint16(len(all)))
	out = binary.LittleEndian.AppendUint16(out, part.From)
	out = append(out, byte(len(some)))
	for _, n := range some {
		out = append(out, n.Address[:]...)
		m := s.number[n.Address]
		if m == nil {
			m = &Meter{} // the CCO, or a meter that isn't there
		}
		if fn == 31 {
			out = append(out, 1<<max(m.Phase-1, 0), 0)
			continue
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(m.Number+1)) // terminal number, the CCO's is 1
		out = binary.LittleEndian.AppendUint16(out, uint16(m.Parent+1))
		role := byte(1) // a node that doesn't relay
		if m.Number == 0 {
			role = 4
		} else if m.Number*s.cfg.Branches < len(s.meters) {
			role = 2
		}
		out = append(out, byte(min(m.Hops, 15))|role<<4)
	}
	return out
}

// cut returns n of a list from the ith on, as far as there are.
func cut[T any](all []T, i, n int) []T {
	i = min(i, len(all))
	return all[i:min(i+n, len(all))]
}

// routeSet is 11H: the archive is changed.
func (s *Station) routeSet(l *line, f *wire.Frame) {
	var code wire.Deny
	ok := false
	switch f.Fn {
	case 1:
		nodes, err := wire.DecodeNodes(f.Data)
		if code, ok = wire.DenyFormat, err == nil; ok {
			code, ok = s.add(nodes)
		}
	case 2:
		nodes, err := wire.DecodeDelete(f.Data)
		if code, ok = wire.DenyFormat, err == nil; ok {
			s.forget(nodes)
		}
	case 5, 6: // registration begins and ends
		ok = true
	default:
		code = wire.DenyFn
	}
	if ok {
		s.confirm(l, f)
	} else {
		s.deny(l, f, code)
	}
}

// add takes all meters into the archive, or none.
func (s *Station) add(nodes wire.Nodes) (wire.Deny, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range nodes.Len() {
		if slices.ContainsFunc(s.archive, func(n wire.Node) bool { return n.Address == nodes.At(i).Address }) {
			return wire.DenyDuplicate, false
		}
	}
	if len(s.archive)+nodes.Len() > MaxMeters {
		return wire.DenyFormat, false
	}
	for i := range nodes.Len() {
		s.archive = append(s.archive, nodes.At(i))
	}
	return 0, true
}

func (s *Station) forget(nodes wire.Addresses) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range nodes.Len() {
		s.archive = slices.DeleteFunc(s.archive, func(n wire.Node) bool { return n.Address == nodes.At(i) })
	}
}

// routeControl is 12H: restart, pause, resume.
func (s *Station) routeControl(l *line, f *wire.Frame) {
	if f.Fn < 1 || f.Fn > 3 {
		s.deny(l, f, wire.DenyFn)
		return
	}
	s.mu.Lock()
	s.routing = f.Fn != 2
	if f.Fn == 1 {
		clear(s.done)
		s.next = 0
	}
	s.mu.Unlock()
	s.confirm(l, f)
}
