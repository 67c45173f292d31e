package twin

import (
	"encoding/binary"
	"errors"
	"fmt"

	"gnomon/cloud/changeset"
	"gnomon/cloud/history"
	"gnomon/cloud/store"
	"gnomon/cloud/trace"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Replicas carries notices to the other processes that share the store. Each
// gives them to Service.Deliver.
type Replicas interface {
	// Send takes a notice about a thing. It must not block; what is lost that
	// way only delays, as a lost message to a client does.
	Send(thing string, notice []byte)
}

// ErrNotice: a notice that this version doesn't understand.
var ErrNotice = errors.New("malformed notice")

// A notice is a committed change as others need it to tell their own clients and
// watchers: format (1 byte), flags (1 byte), and then, each with its length as a
// uvarint before it, thing, shadow, the record before, the record after, the
// patches of desired and of reported as JSON, the client token. A change of
// desired may go on with its trace (see appendTrace). Readers leave alone what
// follows, so that replicas can be upgraded one after the other.
const noticeFormat = 1

const (
	noticeRequest  = 1 << iota // it came by MQTT
	noticePlain                // on a topic without $aws/
	noticeNull                 // "state": null
	noticeDesired              // the update named desired
	noticeReported             // the update named reported
	noticeWholeDesired
	noticeWholeReported
)

func appendNotice(dst []byte, c change, previous *shadow.Document, record []byte, u *shadow.Update) []byte {
	var flags byte
	for _, f := range []struct {
		on   bool
		flag byte
	}{
		{c.request != nil, noticeRequest}, {c.request != nil && c.request.Plain, noticePlain}, {u.StateNull, noticeNull},
		{u.Desired.Present, noticeDesired}, {u.Reported.Present, noticeReported},
		{u.Desired.Replace, noticeWholeDesired}, {u.Reported.Replace, noticeWholeReported},
	} {
		if f.on {
			flags |= f.flag
		}
	}
	dst = append(dst, noticeFormat, flags)
	var before []byte
	if previous != nil {
		before = previous.AppendRecord(nil)
	}
	for _, part := range [][]byte{
		[]byte(c.key.Thing), []byte(c.key.Shadow), before, record,
		patchOf(u.Desired), patchOf(u.Reported), []byte(u.ClientToken),
	} {
		dst = append(binary.AppendUvarint(dst, uint64(len(part))), part...)
	}
	return dst
}

func patchOf(s shadow.Section) []byte {
	if s.Patch == nil {
		return nil
	}
	return s.Patch.AppendJSON(nil)
}

// noticed is a notice taken apart.
type noticed struct {
	c              change
	previous, next *shadow.Document
	record         []byte
	update         *shadow.Update
	by             string     // who made a change of desired
	elsewhere      trace.Sent // what the replica sent its own clients
}

func parseNotice(b []byte) (*noticed, error) {
	if len(b) < 2 || b[0] != noticeFormat {
		return nil, ErrNotice
	}
	flags, rest := b[1], b[2:]
	var parts [7][]byte
	for i := range parts {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n > uint64(len(rest)-used) {
			return nil, ErrNotice
		}
		parts[i], rest = rest[used:used+int(n)], rest[used+int(n):]
	}
	n := &noticed{record: parts[3], update: &shadow.Update{ClientToken: string(parts[6]), StateNull: flags&noticeNull != 0}}
	n.c.key = store.Key{Thing: string(parts[0]), Shadow: string(parts[1])}
	if flags&noticeRequest != 0 {
		n.c.request = &wire.Topic{Plain: flags&noticePlain != 0}
	}
	var err error
	if err = n.parseTrace(rest); err != nil {
		return nil, err
	}
	if n.next, err = shadow.ParseRecord(parts[3]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotice, err)
	}
	if len(parts[2]) > 0 {
		if n.previous, err = shadow.ParseRecord(parts[2]); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotice, err)
		}
	}
	n.update.Desired, err = sectionOf(parts[4], flags&noticeDesired != 0, flags&noticeWholeDesired != 0)
	if err == nil {
		n.update.Reported, err = sectionOf(parts[5], flags&noticeReported != 0, flags&noticeWholeReported != 0)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotice, err)
	}
	return n, nil
}

// noticeLimits only have to be wide enough for what another replica accepted.
var noticeLimits = shadow.Limits{StateBytes: 1 << 24, BodyBytes: 1 << 24, Depth: shadow.MaxDepth}

func sectionOf(patch []byte, present, whole bool) (shadow.Section, error) {
	s := shadow.Section{Present: present, Replace: whole}
	if len(patch) == 0 {
		return s, nil
	}
	v, err := shadow.Parse(patch, noticeLimits)
	s.Patch = v
	return s, err
}

// Deliver tells this process's clients, unless the other one reaches them, and
// watchers of a change that another one committed. Changes of one shadow come in the order of their versions, but for
// those that two processes committed at about the same time.
func (s *Service) Deliver(notice []byte) error {
	n, err := parseNotice(notice)
	if err != nil {
		return err
	}
	if n.c.key.Internal() {
		s.learn(n)
		if n.c.key.Shadow == changeset.Record {
			s.noteChanges(n.c.key.Thing, n.next)
		}
		return nil
	}
	defer s.lives.changed(n.c.key.Thing, n.next.Timestamp)
	n.c.published = s.cfg.ReachesAll
	out := s.messages(n.c, n.previous, n.next, n.update)
	if out.change != nil {
		out.change.By, out.change.Remote = n.by, true
	}
	if !s.learn(n) {
		out.event.document = nil
	}
	s.tellTraces(&out, n.next, n.elsewhere)
	for _, m := range out.messages {
		s.cfg.Publisher.Publish(m.topic, m.payload)
	}
	s.events.append(out.event)
	return nil
}

// learn keeps the head of a cached shadow current, which spares the next change
// a conflict. It returns false when something newer is known already.
func (s *Service) learn(n *noticed) bool {
	st := s.stripeOf(n.c.key.Thing)
	st.mu.Lock()
	defer st.mu.Unlock()
	if n.next.DesiredVersion == n.next.Version {
		if h := st.cached(history.Key(n.c.key)); h != nil && h.pending.Load() == 0 {
			st.drop(h) // it has one more version, too
		}
	}
	e := st.cached(n.c.key)
	if e == nil {
		return true
	}
	newer := e.tell(n.next)
	if e.pending.Load() > 0 || e.failed.Load() || e.head != nil && e.head.Version >= n.next.Version {
		return newer
	}
	e.head, e.sum = n.next, store.SumOf(n.record)
	e.committed.Store(n.next)
	st.resize(e, len(n.record))
	return newer
}

// tell notes that others hear of a version, and returns whether it is newer than
// those they have heard of.
func (e *entry) tell(d *shadow.Document) bool {
	for {
		told := e.told.Load()
		if told >= d.Version {
			return false
		}
		if e.told.CompareAndSwap(told, d.Version) {
			return true
		}
	}
}

// MissedNotices says that notices of others were lost. Watchers are told to look
// for themselves.
func (s *Service) MissedNotices() { s.events.lose() }
