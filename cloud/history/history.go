package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gnomon/cloud/store"
	"gnomon/shadow"
)

const prefix = store.InternalPrefix + "history:"

// Key is where the history of a shadow is kept.
func Key(of store.Key) store.Key { return store.Key{Thing: of.Thing, Shadow: prefix + of.Shadow} }

// Of returns the shadow that a record is the history of.
func Of(key store.Key) (store.Key, bool) {
	name, ok := strings.CutPrefix(key.Shadow, prefix)
	return store.Key{Thing: key.Thing, Shadow: name}, ok
}

// Ways by which desired is written.
const (
	ViaHTTP      = "http"
	ViaMQTT      = "mqtt"
	ViaChangeSet = "change-set"
)

// Entry is one version of desired.
type Entry struct {
	Version    uint64          `json:"version"`
	Before     uint64          `json:"before,omitempty"`     // the version of desired before; 0: there was none
	Time       int64           `json:"time,omitempty"`       // second since 1970; 0: not known, it was written before there was a history
	By         string          `json:"by,omitempty"`         // the principal
	Via        string          `json:"via,omitempty"`        // http, mqtt or change-set
	Generation uint64          `json:"generation,omitempty"` // of the change-set, if it was one
	Trace      string          `json:"trace,omitempty"`      // id of the write's W3C trace
	Deleted    bool            `json:"deleted,omitempty"`    // the shadow was
	Undo       json.RawMessage `json:"undo,omitempty"`       // the merge patch to the version before; null: nothing was desired then
	Again      []string        `json:"again,omitempty"`      // paths that were written with the value they had
}

// Bounds of one shadow's history. The newest version is kept whatever its size.
type Bounds struct {
	Versions int
	Bytes    int
}

// Write is a version of desired that is being written.
type Write struct {
	Previous, Next *shadow.Document
	Patch          *shadow.Value // as it was asked for; nil when desired was removed
	By, Via        string
	Generation     uint64
	Trace          string // id of the W3C trace; "" = none
}

// The members of a history's document.
const (
	entriesMember = "entries" // an array of strings, each an Entry as JSON, the oldest first
	versionMember = "version" // of the newest
	droppedMember = "dropped" // older ones were dropped
)

// Next returns the history with one more version. old may be nil. A history that
// doesn't lead up to the version before is begun anew.
func Next(old *shadow.Document, w Write, b Bounds) (*shadow.Document, error) {
	e := Entry{
		Version: w.Next.Version, Time: w.Next.Timestamp, By: w.By, Via: w.Via, Generation: w.Generation, Trace: w.Trace,
		Deleted: w.Next.Deleted, Undo: json.RawMessage("{}"),
	}
	var before *shadow.Value
	if w.Previous.Exists() {
		before = w.Previous.Desired
	}
	if w.Previous != nil {
		e.Before = w.Previous.DesiredVersion
	}
	if undo := shadow.PatchBetween(w.Next.Desired, before); undo != nil {
		e.Undo = undo.AppendJSON(nil)
	}
	e.Again = again(nil, "", w.Patch, before)
	text, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	var kept []*shadow.Value
	dropped := false
	if leadsTo(old, e.Before) {
		for _, v := range old.Desired.Get(entriesMember).Members() {
			kept = append(kept, v)
		}
		dropped = old.Desired.Get(droppedMember) != nil
	}
	kept = append(kept, shadow.Text(string(text)))
	size := 0
	for i := len(kept) - 1; i >= 0; i-- {
		size += len(kept[i].Text())
		if n := len(kept) - i; n > 1 && (n > b.Versions || size > b.Bytes) {
			kept, dropped = kept[i+1:], true
			break
		}
	}
	return document(old, kept, dropped, w.Next), nil
}

func document(old *shadow.Document, entries []*shadow.Value, dropped bool, of *shadow.Document) *shadow.Document {
	d := &shadow.Document{Version: 1, Timestamp: of.Timestamp}
	if old != nil {
		d.Version = old.Version + 1
	}
	d.DesiredVersion = d.Version
	members := []shadow.Member{
		{Key: entriesMember, Value: shadow.NewArray(entries...)},
		{Key: versionMember, Value: shadow.Uint(of.DesiredVersion)},
	}
	if dropped {
		members = append(members, shadow.Member{Key: droppedMember, Value: shadow.Flag(true)})
	}
	d.Desired = shadow.NewObject(members...)
	return d
}

// leadsTo tells whether a history ends with a version of desired.
func leadsTo(d *shadow.Document, version uint64) bool {
	return d.Exists() && d.Desired.Get(versionMember).Text() == shadow.Uint(version).Text()
}

// again lists the leaves of a patch that are what they were before.
func again(out []string, path string, patch, before *shadow.Value) []string {
	if before == nil {
		return out
	}
	for key, v := range patch.Members() {
		inner := shadow.RootPath(key)
		if path != "" {
			inner = shadow.JoinPath(path, key)
		}
		was := before.Get(key)
		switch {
		case was == nil || v.Kind() == shadow.Null:
		case v.Kind() == shadow.Object && v.Len() > 0:
			out = again(out, inner, v, was)
		case v.Kind() == shadow.Object && was.Kind() == shadow.Object && was.Len() > 0:
			// {} says nothing about what is there
		case shadow.Equal(v, was):
			out = append(out, inner)
		}
	}
	return out
}

// ErrNotKept: the history doesn't go back to that version, or desired wasn't
// written with it.
var ErrNotKept = errors.New("version is not in the history")

// Log is a history together with the document it leads up to.
type Log struct {
	now     *shadow.Document
	entries []Entry // the oldest first
}

// Read returns the history of a document. d may be nil, and is taken for none
// if it doesn't lead up to now.
func Read(d, now *shadow.Document) (*Log, error) {
	l := &Log{now: now}
	if now == nil || !leadsTo(d, now.DesiredVersion) {
		return l, nil
	}
	list := d.Desired.Get(entriesMember)
	for _, v := range list.Members() {
		var e Entry
		if err := json.Unmarshal([]byte(v.Text()), &e); err != nil {
			return nil, fmt.Errorf("history: %w: %w", shadow.ErrCorrupt, err)
		}
		l.entries = append(l.entries, e)
	}
	if len(l.entries) > 0 && l.entries[0].Before > 0 && d.Desired.Get(droppedMember) == nil {
		first := Entry{Version: l.entries[0].Before} // from before there was a history
		l.entries = append([]Entry{first}, l.entries...)
	}
	return l, nil
}

// Entries returns the versions that are kept, the oldest first.
func (l *Log) Entries() []Entry { return l.entries }

// wide lets through whatever was a document once.
var wide = shadow.Limits{StateBytes: 1 << 24, BodyBytes: 1 << 24, Depth: shadow.MaxDepth}

// At returns what desired was at a version; nil when nothing was.
func (l *Log) At(version uint64) (Entry, *shadow.Value, error) {
	states, err := l.from(version)
	if err != nil {
		return Entry{}, nil, err
	}
	return states[0].Entry, states[0].desired, nil
}

// state is a version with what was desired.
type state struct {
	Entry
	desired *shadow.Value
}

// from returns all versions from one on, the oldest first.
func (l *Log) from(version uint64) ([]state, error) {
	var states []state
	var desired *shadow.Value
	if l.now.Exists() {
		desired = l.now.Desired
	}
	for i := len(l.entries) - 1; i >= 0; i-- {
		e := l.entries[i]
		states = append(states, state{e, desired})
		if e.Version == version {
			slices.Reverse(states)
			return states, nil
		}
		if e.Undo == nil {
			break
		}
		undo, err := shadow.Parse(e.Undo, wide)
		if err != nil {
			return nil, fmt.Errorf("history: %w: %w", shadow.ErrCorrupt, err)
		}
		if desired = shadow.Merge(desired, undo, 0); desired.Len() == 0 {
			desired = nil
		}
	}
	return nil, ErrNotKept
}
