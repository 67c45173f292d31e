package devices

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"gnomon/edge/state"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// MaxShadows bounds the shadows held, deleted ones included.
const MaxShadows = 512

// Store is the node's own disk.
type Store interface {
	Put(records ...state.Record) error
	Delete(kind state.Kind, names ...string) error
	All(kind state.Kind) (map[string][]byte, error)
	Reject(kind state.Kind, name string, cause error)
}

// Epoch counts the starts of the agent, which orders what it reports.
type Epoch interface {
	BootEpoch() uint64
	RaiseEpoch(uint64) error
}

// Publish hands a message to whoever on the node has subscribed to its topic. It
// must not block.
type Publish func(topic string, payload []byte)

// Config of Devices. Store, Epoch and Publish are required.
type Config struct {
	Store   Store
	Epoch   Epoch
	Publish Publish

	SyncInterval time.Duration // between comparisons with the cloud, jittered by ±20 %; default 5m
	Timeout      time.Duration // for an answer of the cloud; default 10s
	Patience     time.Duration // of a reader, with what the cloud is just being asked for; default 3s
	BackoffMax   time.Duration // between tries; default 1m
	Now          func() time.Time
	Log          *slog.Logger
}

// Devices are the shadows of the devices behind a node. Methods may be called
// concurrently; a change is on disk when they return.
type Devices struct {
	cfg  Config
	kick chan struct{} // there may be something to send, or other things are served

	mu       sync.Mutex
	served   *schema.NodeDevices
	replicas map[key]*replica
	online   *session // nil without a connection
	tokens   uint64
	seq      uint64
	run      string // tells tokens of this run from those of others
	problem  string
	counters map[string]int64
}

// session is what is known of one connection.
type session struct {
	things map[string]*talk
}

// talk is the state of the syncs of one thing over one connection.
type talk struct {
	token    string // of the sync that is unanswered; ""
	expires  time.Time
	next     time.Time // of the next sync
	failures int
	stated   map[string]statement
}

// statement is what a sync said of one shadow: an answer counts for what still is so.
type statement struct {
	desiredVersion uint64
	reported       *shadow.Value
	flight         *flight
}

// New reads what is on disk. It starts nothing.
func New(cfg Config) (*Devices, error) {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&cfg.SyncInterval, 5 * time.Minute}, {&cfg.Timeout, 10 * time.Second}, {&cfg.Patience, 3 * time.Second}, {&cfg.BackoffMax, time.Minute}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Devices{
		cfg: cfg, kick: make(chan struct{}, 1), replicas: map[key]*replica{}, counters: map[string]int64{},
		run: strconv.FormatUint(uint64(rand.Uint32()), 36),
	}
	all, err := cfg.Store.All(kind)
	if err != nil {
		return nil, fmt.Errorf("devices: %w", err)
	}
	for name, data := range all {
		r, err := parseRecord(data)
		if err == nil && recordName(r.key) != name {
			err = fmt.Errorf("it is about %s/%s", r.thing, r.name)
		}
		if err != nil {
			cfg.Store.Reject(kind, name, err)
			continue
		}
		d.replicas[r.key] = r
	}
	return d, nil
}

// Serve says which devices the node speaks for. What is held of others stays on
// disk and is neither served nor sent.
func (d *Devices) Serve(devices *schema.NodeDevices) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.served = devices
	if devices != nil {
		for _, thing := range devices.Names {
			d.interest(key{thing: thing})
		}
	}
	signal(d.kick)
}

// Serves tells whether the node speaks for a thing.
func (d *Devices) Serves(thing string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.served.Has(thing)
}

// interest returns the replica of a shadow, a new one if need be, of which
// nothing is on disk as long as there is nothing to it; nil if there is no room.
func (d *Devices) interest(k key) *replica {
	if r := d.replicas[k]; r != nil {
		return r
	}
	if len(d.replicas) >= MaxShadows && !d.evict() {
		d.counters["overflow"]++
		return nil
	}
	r := &replica{key: k, doc: &shadow.Document{}, ask: true}
	d.replicas[k] = r
	signal(d.kick)
	return r
}

// evict makes room by forgetting a shadow that never was.
func (d *Devices) evict() bool {
	var of *replica
	for _, r := range d.replicas {
		if r.spare() && (of == nil || of.ask && !r.ask) { // one that the cloud isn't known to lack goes last
			of = r
		}
	}
	if of == nil {
		return false
	}
	delete(d.replicas, of.key)
	return true
}

// spare tells whether it is nothing that anybody on the node has.
func (r *replica) spare() bool {
	return r.doc.Version == 0 && r.flight == nil && r.ready == nil && r.name != ""
}

// room tells whether a shadow of the cloud can be held beside those that are there, or
// are yet to be asked for.
func (d *Devices) room() bool {
	if len(d.replicas) < MaxShadows {
		return true
	}
	for _, r := range d.replicas {
		if r.spare() && !r.ask {
			return true
		}
	}
	return false
}

// keep writes what a replica is to be, and then makes it that. What changed is
// published, as the answer to by if that isn't nil.
func (d *Devices) keep(r, next *replica, by *change) error {
	if next.doc.Version > 0 || next.deleting {
		rec, err := next.record()
		if err == nil {
			err = d.cfg.Store.Put(rec)
		}
		if err != nil {
			d.counters["storeErrors"]++
			return fmt.Errorf("shadow of %s: %w", r.thing, err)
		}
	}
	before := r.doc
	*r = *next
	if r.doc != before {
		d.publish(r, before, by)
	}
	signal(d.kick)
	return nil
}

// change is what a request on the node asked for.
type change struct {
	topic  wire.Topic
	update *shadow.Update // nil: a delete
	token  string
}

// publish tells the node of a new version, in the order of the contract.
func (d *Devices) publish(r *replica, before *shadow.Document, by *change) {
	now := r.doc
	u := &shadow.Update{}
	if by == nil {
		u.Desired = sectionOf(before.Desired, now.Desired)
		u.Reported = sectionOf(before.Reported, now.Reported)
	} else if by.update != nil {
		u = by.update
	}
	delta := now.Delta()
	for _, plain := range [...]bool{false, true} {
		t := wire.Topic{Thing: r.thing, Shadow: r.name, Op: wire.OpUpdate, Plain: plain}
		answered := by == nil || by.topic.Plain == plain
		if now.Deleted {
			t.Op = wire.OpDelete
			token := ""
			if by != nil {
				token = by.token
			}
			if answered {
				d.cfg.Publish(t.Accepted(), wire.AppendDeleted(nil, now, token))
			}
			continue
		}
		if answered {
			d.cfg.Publish(t.Accepted(), wire.AppendAccepted(nil, u, now))
		}
		d.cfg.Publish(t.Documents(), wire.AppendDocuments(nil, before, now, u.ClientToken))
		if delta != nil {
			d.cfg.Publish(t.Delta(), wire.AppendDelta(nil, now, delta, u.ClientToken))
		}
	}
}

// sectionOf is what changed of a section.
func sectionOf(before, now *shadow.Value) shadow.Section {
	patch := between(before, now)
	return shadow.Section{Present: patch != nil, Patch: patch}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Kick signals that Due may give something. It is a level.
func (d *Devices) Kick() <-chan struct{} { return d.kick }

// jittered spreads a time by ±20 %.
func jittered(t time.Duration) time.Duration { return t*4/5 + rand.N(max(1, t*2/5)) }

// backoff is the pause after so many failures in a row.
func (d *Devices) backoff(failures int) time.Duration {
	return jittered(min(d.cfg.BackoffMax, time.Second<<min(max(0, failures-1), 20)))
}
