package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// walker goes through a data unit along its layout. Objects are filled if they
// are there; without, only the form is checked.
type walker struct {
	cursor
	count    uint64   // that was kept
	protocol Protocol // of the next message
	said     bool     // protocol is one that the data unit says
	carried  Carried
	broken   error // the first carried frame that is
}

func (w *walker) layout(l layout, o *Object) {
	for i := range l {
		if w.field(&l[i], o); w.err != nil {
			return
		}
	}
}

func (w *walker) field(f *field, o *Object) {
	switch f.kind {
	case kindUint:
		w.number(f, o)
	case kindKeptLength:
		if w.count != 0 {
			w.number(f, o)
		}
	case kindBits:
		n := w.uint(f.size, f.name)
		o.add(f.name, func() any { return f.bits(n) })
	case kindAddress:
		a := w.address(f.name)
		if f.digits && !a.decimal() {
			w.at -= addressSize
			w.refuse(a, f.name)
		}
		o.add(f.name, func() any { return a.String() })
	case kindText, kindBCD, kindHex:
		w.bytes(f, w.take(f.bytes(w.left()), f.name), o)
	case kindSet:
		b := w.take(f.size, f.name)
		o.add(f.name, func() any { return set(b, f.base) })
	case kindKeptHex:
		w.bytes(f, w.take(int(w.count), f.name), o)
	case kindClock:
		t := w.clock(f.backwards, f.name)
		o.add(f.name, func() any { return t.String() })
	case kindProtocol:
		p := w.cursor.protocol(f.name)
		w.protocol, w.said = p, true
		o.add(f.name, func() any { return fmt.Sprintf("%d: %v", byte(p), p) })
	case kindMessage:
		w.message(f, o)
	case kindEvent:
		w.event(o)
	default:
		w.list(f, o)
	}
}

func (w *walker) number(f *field, o *Object) {
	n := w.uint(f.size, f.name)
	if f.most > 0 && n > uint64(f.most) {
		w.at -= f.size
		w.tooMuch(n, f)
	}
	if f.keep {
		w.count = n
	}
	o.add(f.name, func() any { return f.say(n) })
}

func (w *walker) tooMuch(n uint64, f *field) {
	w.fail(f.name, ErrValue, "%d, %d is the limit", n, f.most)
}

// say spells a number out.
func (f *field) say(n uint64) any {
	switch {
	case f.words != nil:
		return fmt.Sprintf("%d: %s", n, word(f.words, n))
	case f.unit == "deny":
		return Deny(n).String()
	case f.unit != "":
		return fmt.Sprintf("%d %s", n, f.unit)
	}
	return n
}

func word(words []string, n uint64) string {
	if n < uint64(len(words)) && words[n] != "" {
		return words[n]
	}
	return "reserved"
}

func (f *field) bits(n uint64) Object {
	var o Object
	for _, p := range f.parts {
		v := n >> p.shift & (1<<p.bits - 1)
		var said any = v
		switch {
		case p.words != nil:
			said = word(p.words, v)
		case p.bits == 31: // of channels, beside the bit of the command
			said = set(binary.LittleEndian.AppendUint32(nil, uint32(v)), 1)
		}
		o = append(o, Member{p.name, said})
	}
	return o
}

// set returns the numbers of the bits that are set; the first has the number base.
func set(b []byte, base int) []int {
	all := []int{}
	for i := range 8 * len(b) {
		if b[i/8]>>(i%8)&1 == 1 {
			all = append(all, base+i)
		}
	}
	return all
}

func (f *field) bytes(left int) int {
	if f.size == 0 {
		return left
	}
	return f.size
}

func (w *walker) bytes(f *field, b []byte, o *Object) {
	o.add(f.name, func() any {
		if f.kind != kindText && f.kind != kindBCD {
			return fmt.Sprintf("% X", b)
		}
		turned := make([]byte, len(b))
		for i, c := range b {
			turned[len(b)-1-i] = c
		}
		if f.kind == kindBCD {
			return fmt.Sprintf("%X", turned)
		}
		for i, c := range turned {
			if c < ' ' || c > '~' {
				turned[i] = '.'
			}
		}
		return fmt.Sprintf("%s (sent as % X)", turned, b) // there are modules that send them the other way round
	})
}

// list reads elements, as many as the field says in its own way.
func (w *walker) list(f *field, o *Object) {
	n, at := uint64(f.size), w.at
	switch f.kind {
	case kindList:
		n = w.uint(f.size, f.name)
	case kindKept:
		n = w.count
	case kindRest:
		n = uint64(w.left()) // more than there can be: it ends with the data unit
		if f.most > 0 {
			n = min(n, uint64(f.most))
		}
	}
	if f.most > 0 && n > uint64(f.most) {
		w.at = at
		w.tooMuch(n, f)
	}
	var all []any
	for i := uint64(0); i < n && w.err == nil && (f.kind != kindRest || w.left() > 0); i++ {
		if o == nil {
			w.layout(f.elem, nil)
			continue
		}
		var one Object
		w.layout(f.elem, &one)
		if len(one) == 1 {
			all = append(all, one[0].Value)
			continue
		}
		all = append(all, one)
	}
	if all == nil {
		all = []any{}
	}
	o.add(f.name, func() any { return all })
}

func (w *walker) message(f *field, o *Object) {
	content := w.cursor.message(f.size, f.name)
	if o == nil || w.err != nil {
		return
	}
	o.add("length", func() any { return len(content) })
	p := w.protocol
	if !w.said {
		p = sniff(content)
	}
	o.add(f.name, func() any { return w.frames(p, content) })
}

// frames explains what is carried.
func (w *walker) frames(p Protocol, content []byte) []any {
	all := []any{}
	for len(content) > 0 {
		m, rest, err := NextMeterFrame(p, content)
		if err != nil {
			all = append(all, w.frame(Object{{"bytes", fmt.Sprintf("% X", content)}}, len(all), err))
			break
		}
		o := Object{{"bytes", fmt.Sprintf("% X", m.Bytes)}}
		if w.carried != nil {
			said, err := w.carried(p, m.Bytes)
			if said != nil {
				o = append(o, Member{"explanation", said})
			}
			o = w.frame(o, len(all), err)
		}
		all = append(all, o)
		content = rest
	}
	return all
}

func (w *walker) frame(o Object, i int, err error) Object {
	if err == nil {
		return o
	}
	if w.broken == nil {
		w.broken = fmt.Errorf("carried frame %d: %w", i+1, err)
	}
	return append(o, Member{"error", err.Error()})
}

// event reads the rest of 06H-F5 after the device.
func (w *walker) event(o *Object) {
	r := EventReport{Device: byte(w.count), Kind: w.byte("kind")}
	r.Content = w.cursor.message(1, "event")
	if w.err != nil {
		return
	}
	o.add("kind", func() any {
		return fmt.Sprintf("%d: %s", r.Kind, word([]string{"", protocolNames[1], protocolNames[2], protocolNames[3], "power", "nodes of another supply area"}, uint64(r.Kind)))
	})
	switch {
	case r.Kind >= byte(DLT645v1997) && r.Kind <= byte(DLT698):
		o.add("carried", func() any { return w.frames(Protocol(r.Kind), r.Content) })
	case r.Kind == PowerEvent:
		w.within(r.Content, powerLayout(r.Device), o)
	case r.Kind == AreaRefusal:
		w.within(r.Content, refusals, o)
	default:
		o.add("event", func() any { return fmt.Sprintf("% X", r.Content) })
	}
}

func (w *walker) within(content []byte, l layout, o *Object) {
	inner := walker{cursor: cursor{data: content}}
	inner.layout(l, o)
	if err := inner.end(); err != nil {
		var s *SyntaxError
		if errors.As(err, &s) {
			s.Offset += w.at - len(content)
		}
		w.err = err
	}
}

var (
	powerEvents = enum("event", "", "power lost", "power restored")
	nodesLost   = layout{powerEvents, rest("nodes", address("address"))}
	metersLost  = layout{powerEvents, rest("meters", address("address"), enum("power", noYes...))}
	refusals    = layout{atMost(32, list("refused", 1, address("address"), enum("device", eventDevices...)))}
)

func powerLayout(device byte) layout {
	if device == collector {
		return metersLost
	}
	return nodesLost
}
