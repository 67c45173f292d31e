package wire

import (
	"errors"
	"fmt"
)

// Explanation says what a frame is, in words.
type Explanation struct {
	Protocol    string   `json:"protocol"`
	Length      int      `json:"length"`
	Control     string   `json:"control"`
	Sender      string   `json:"sender"` // concentrator or module
	Sequence    byte     `json:"sequence"`
	Information Object   `json:"information"`
	Addresses   Object   `json:"addresses,omitempty"`
	AFN         string   `json:"afn"`
	Fn          string   `json:"fn"`
	Origin      string   `json:"origin,omitempty"` // of a Fn that the standard doesn't have
	Data        Object   `json:"data,omitempty"`
	Notes       []string `json:"notes,omitempty"` // what is odd about a frame that is well-formed
	Checksum    string   `json:"checksum"`
}

// Carried explains a meter frame; said may be nil. It is asked for frames of
// every Protocol.
type Carried func(p Protocol, frame []byte) (said any, err error)

// Explain says what one frame is; carried, which may be nil, says what the meter
// frames in it are. Of a broken one it says as much as can be said, or nothing,
// and the error why it is broken.
func Explain(b []byte, carried Carried) (*Explanation, error) {
	var f Frame
	err := f.Decode(b)
	if errors.Is(err, ErrChecksum) {
		if f.decodeBody(b[:len(b)-2]) != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	e := &Explanation{Protocol: "Q/GDW 10376.2-2019", Length: len(b)}
	e.describe(&f)
	got, want := b[len(b)-2], sum(b[3:len(b)-2])
	e.Checksum = fmt.Sprintf("%02XH, right", got)
	if got != want {
		e.Checksum = fmt.Sprintf("%02XH, wrong: should be %02XH", got, want)
	}
	if reason := e.data(&f, carried); err == nil {
		err = reason
	}
	e.note(&f)
	return e, err
}

func (e *Explanation) describe(f *Frame) {
	e.Sender, e.Sequence = "concentrator", f.Info.Sequence()
	role := "answers"
	if f.Control.Primary() {
		role = "begins"
	}
	if f.Control.Up() {
		e.Sender, e.Information = "module", f.Info.Up().explain()
	} else {
		e.Information = f.Info.Down().explain()
	}
	e.Control = fmt.Sprintf("%02XH %s %s, %v", byte(f.Control), e.Sender, role, f.Control.Mode())
	if f.Info.HasAddress() {
		e.Addresses = Object{{"source", f.Source.String()}, {"destination", f.Destination.String()}}
		if relays := f.Relays(); len(relays) > 0 {
			way := []string{}
			for _, r := range relays {
				way = append(way, r.String())
			}
			e.Addresses = append(e.Addresses, Member{"relays", way})
		}
	}
	e.AFN, e.Fn = f.AFN.String(), f.Fn.String()
}

func (d Down) explain() Object {
	rate := fmt.Sprintf("%d bit/s", d.Rate)
	switch {
	case d.Rate == 0:
		rate = "default"
	case d.RateInKilos:
		rate = fmt.Sprintf("%d kbit/s", d.Rate)
	}
	reply := "default"
	if d.ReplyBytes > 0 {
		reply = fmt.Sprintf("%d bytes", d.ReplyBytes)
	}
	return Object{
		{"routing", !d.Bypass}, {"attachedNodes", d.SubNode}, {"addressField", d.Address}, {"conflictDetection", d.Conflicts},
		{"relayLevel", d.RelayLevel}, {"channel", d.Channel}, {"correction", d.Correction}, {"expectedReply", reply},
		{"rate", rate},
	}
}

func (u Up) explain() Object {
	return Object{
		{"routing", !u.Bypass}, {"addressField", u.Address}, {"relayLevel", u.RelayLevel}, {"channel", u.Channel},
		{"phase", word([]string{"not known", "1", "2", "3"}, uint64(u.Phase))}, {"meterChannel", u.MeterChannel},
		{"commandQuality", quality(u.CommandQuality)}, {"replyQuality", quality(u.ReplyQuality)}, {"event", u.Event},
	}
}

func quality(q byte) string {
	if q == 0 {
		return "not known"
	}
	return fmt.Sprintf("%d of 15", q)
}

// data explains the data unit.
func (e *Explanation) data(f *Frame, carried Carried) error {
	entry, err := f.entry()
	var forms []layout
	if err == nil {
		e.Fn, e.Origin = fmt.Sprintf("%v %s", f.Fn, entry.name), entry.origin
		forms, err = f.forms(&entry)
	}
	if forms == nil {
		if len(f.Data) > 0 {
			e.Data = Object{{"bytes", fmt.Sprintf("% X", f.Data)}}
		}
		return err
	}
	for _, l := range forms {
		w := walker{cursor: cursor{data: f.Data}, carried: carried}
		var o Object
		w.layout(l, &o)
		reason := w.end()
		if reason == nil {
			e.Data = o
			return w.broken
		}
		if err == nil { // the first form is what people expect
			err, e.Data = reason, append(o, Member{"bytes", fmt.Sprintf("% X", f.Data)})
		}
	}
	return fmt.Errorf("data unit: %w", err)
}

// entry looks up what a frame is. AFNDebug has anything for an entry.
func (f *Frame) entry() (entry, error) {
	if f.AFN == AFNDebug {
		return entry{name: "as the vendor pleases"}, nil
	}
	fns := entries[f.AFN]
	if fns == nil {
		return entry{}, fmt.Errorf("%w: %02XH", ErrAFN, byte(f.AFN))
	}
	e, ok := fns[f.Fn]
	if !ok {
		return entry{}, fmt.Errorf("%w: %02XH has no %v", ErrFn, byte(f.AFN), f.Fn)
	}
	return e, nil
}

// forms are those that the data unit may have. Without any, and without an error,
// it is anything.
func (f *Frame) forms(e *entry) ([]layout, error) {
	forms, way := e.down, "down"
	if f.Control.Up() {
		forms, way = e.up, "up"
	}
	if forms == nil && (e.down != nil || e.up != nil) {
		return nil, fmt.Errorf("%w: %02XH-%v does not exist on the way %s", ErrFn, byte(f.AFN), f.Fn, way)
	}
	return forms, nil
}

// Check makes sure that a frame's data unit is of the form that its AFN and Fn
// have in its direction. What is carried is not looked at.
func (f *Frame) Check() error {
	e, err := f.entry()
	if err != nil {
		return err
	}
	forms, err := f.forms(&e)
	for _, l := range forms {
		w := walker{cursor: cursor{data: f.Data}}
		w.layout(l, nil)
		if reason := w.end(); reason == nil {
			return nil
		} else if err == nil {
			err = reason
		}
	}
	return err
}

// note tells what is odd about a well-formed frame.
func (e *Explanation) note(f *Frame) {
	switch f.AFN {
	case AFNForward, AFNMonitor, AFNConcurrent:
		if !f.Info.HasAddress() {
			e.Notes = append(e.Notes, "there is no address field: whose meter it is about is not said")
			return
		}
	}
	if f.AFN != AFNConcurrent || f.Fn != 1 {
		return
	}
	var protocol Protocol
	var content []byte
	if f.Control.Up() {
		var r ConcurrentReply
		if r.Decode(f.Data) != nil {
			return
		}
		if r.Failed() {
			e.Notes = append(e.Notes, fmt.Sprintf("the module could not read meter %v", f.Source))
		}
		protocol, content = r.Protocol, r.Content
	} else {
		var r ConcurrentRead
		if r.Decode(f.Data) != nil {
			return
		}
		if err := r.Check(DefaultLimits); err != nil {
			e.Notes = append(e.Notes, "modules with usual limits refuse it: "+err.Error())
		}
		protocol, content = r.Protocol, r.Content
	}
	meter := f.Exchange().Meter
	if err := CheckMeter(protocol, content, meter); errors.Is(err, ErrForeign) {
		note := err.Error()
		if CheckMeter(protocol, content, meter.Reversed()) == nil {
			note += ": the address field has it the other way round"
		}
		e.Notes = append(e.Notes, note)
	}
}
