package devices

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// ErrNotServed: the node doesn't speak for the thing.
var ErrNotServed = &wire.Error{Code: wire.CodeForbidden, Message: "Forbidden"}

// ErrFull: the node holds as many shadows as it can.
var ErrFull = &wire.Error{Code: wire.CodeThrottled, Message: "Too many shadows on this node"}

// errDisk is a change that could not be written; its request isn't acknowledged.
type errDisk struct{ error }

func (e errDisk) Unwrap() error { return e.error }

// Request serves a request of somebody on the node, and publishes the answer. An
// error means that the request must not be acknowledged: it is to be sent again.
func (d *Devices) Request(ctx context.Context, t wire.Topic, body []byte) error {
	err := d.serve(ctx, t, body)
	var disk errDisk
	if err == nil || errors.As(err, &disk) {
		return err
	}
	d.cfg.Publish(t.Rejected(), wire.AppendRejected(nil, err, d.cfg.Now().Unix(), wire.ClientToken(body)))
	return nil
}

func (d *Devices) serve(ctx context.Context, t wire.Topic, body []byte) error {
	d.mu.Lock()
	served := d.served.Has(t.Thing)
	d.counters["requests"]++
	d.mu.Unlock()
	if !served {
		return ErrNotServed
	}
	switch t.Op {
	case wire.OpGet:
		return d.get(ctx, t, body)
	case wire.OpUpdate:
		return d.update(t, body)
	case wire.OpDelete:
		return d.remove(t, body)
	default: // the agents' own way of comparing; devices get
		return &wire.Error{Code: wire.CodeMethodNotAllowed, Message: "Not supported on a node"}
	}
}

func (d *Devices) get(ctx context.Context, t wire.Topic, body []byte) error {
	req, err := shadow.ParseRequest(body, shadow.DefaultLimits)
	if err != nil {
		return err
	}
	d.mu.Lock()
	r := d.interest(key{t.Thing, t.Shadow})
	if r == nil {
		d.mu.Unlock()
		return ErrFull
	}
	if wait := d.wait(r); wait != nil {
		d.mu.Unlock()
		timer := time.NewTimer(d.cfg.Patience)
		defer timer.Stop()
		select {
		case <-wait:
		case <-timer.C:
		case <-ctx.Done():
		}
		d.mu.Lock()
	}
	defer d.mu.Unlock()
	if !r.doc.Exists() {
		return wire.NotFound(t.Thing, t.Shadow)
	}
	text := wire.AppendGet(nil, r.doc, d.cfg.Now().Unix(), req.ClientToken)
	if wish := r.wish(); wish != nil { // the one member that the contract doesn't have
		text = append(text[:len(text)-1], `,"pending":{"desired":`...)
		text = append(wish.AppendJSON(text), "}}"...)
	}
	d.cfg.Publish(t.Accepted(), text)
	return nil
}

// wait returns what is closed when it is known whether the cloud has a shadow of
// which nothing is known here; nil if that isn't worth waiting for.
func (d *Devices) wait(r *replica) <-chan struct{} {
	if d.online == nil || r.known || r.doc.Version > 0 {
		return nil
	}
	if r.ready == nil {
		r.ready = make(chan struct{})
	}
	return r.ready
}

func (d *Devices) update(t wire.Topic, body []byte) error {
	u, err := shadow.ParseUpdate(body, shadow.DefaultLimits)
	if err != nil {
		return err
	}
	u.Origin, u.Reported.Replace = shadow.Origin{}, false // the agents' own
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.interest(key{t.Thing, t.Shadow})
	if r == nil {
		return ErrFull
	}
	doc, err := r.doc.Apply(u, max(d.cfg.Now().Unix(), r.doc.Timestamp), shadow.DefaultLimits)
	if err != nil {
		return err
	}
	next := *r
	next.doc = doc
	if err := d.keep(r, &next, &change{topic: t, update: u}); err != nil {
		return errDisk{err}
	}
	return nil
}

func (d *Devices) remove(t wire.Topic, body []byte) error {
	req, err := shadow.ParseRequest(body, shadow.DefaultLimits)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.replicas[key{t.Thing, t.Shadow}]
	if r == nil {
		return wire.NotFound(t.Thing, t.Shadow)
	}
	doc, err := r.doc.Delete(req.Version, max(d.cfg.Now().Unix(), r.doc.Timestamp))
	switch {
	case errors.Is(err, shadow.ErrNotFound):
		return wire.NotFound(t.Thing, t.Shadow)
	case err != nil:
		return err
	}
	next := *r
	next.doc, next.deleting = doc, r.cloud.version > 0 || !r.known || r.flight != nil
	next.cloud.reported, next.cloud.full = nil, false
	if err := d.keep(r, &next, &change{topic: t, token: req.ClientToken}); err != nil {
		return errDisk{err}
	}
	return nil
}

// Status is how the devices are, for whoever asks on the node.
type Status struct {
	Shadows  int              `json:"shadows"`
	Pending  []string         `json:"pending,omitempty"` // THING or THING/SHADOW of which the cloud lacks something, the first of them
	Waiting  int              `json:"waiting"`           // how many those are
	Unserved int              `json:"unserved,omitempty"`
	Refused  []string         `json:"refused,omitempty"`
	Problem  string           `json:"problem,omitempty"` // the last one
	Counters map[string]int64 `json:"counters"`
}

// maxListed bounds the lists of a Status.
const maxListed = 20

// Status tells how the devices are.
func (d *Devices) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Status{Problem: d.problem, Counters: make(map[string]int64, len(d.counters))}
	for k, n := range d.counters {
		s.Counters[k] = n
	}
	for _, r := range d.sorted() {
		switch {
		case r.doc.Version == 0:
			continue
		case !d.served.Has(r.thing):
			s.Unserved++
			continue
		}
		s.Shadows++
		name := r.thing
		if r.name != "" {
			name += "/" + r.name
		}
		if r.pending() {
			if s.Waiting++; len(s.Pending) < maxListed {
				s.Pending = append(s.Pending, name)
			}
		}
		if r.refused != nil && len(s.Refused) < maxListed {
			s.Refused = append(s.Refused, fmt.Sprintf("%s: %s", name, r.refused.message))
		}
	}
	return s
}
