package mqtt

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"gnomon/edge/collect"
)

// heard is what is known at a path of a topic's payloads.
type heard struct {
	live latest // what was published while we listened
	kept latest // what the broker retains: it may be of any age
}

// latest is what counts for who takes what is retained, or doesn't.
func (h heard) latest(retained bool) latest {
	if retained && h.kept.at.After(h.live.at) {
		return h.kept
	}
	return h.live
}

// none says why nothing counts yet.
func (h heard) none(topic string) error {
	if !h.kept.at.IsZero() {
		return fmt.Errorf("%w: all that is known of %s is retained, and may be of any age; source.retained takes it all the same", collect.ErrTimeout, topic)
	}
	return fmt.Errorf("%w: nothing was published on %s yet", collect.ErrTimeout, topic)
}

// with is what is known after a message. A retained one that says what is known
// already doesn't make it younger.
func (h heard) with(l latest, retained bool) heard {
	switch {
	case !retained:
		h.live = l
		if !h.kept.says(l) {
			h.kept = latest{} // what is retained from now on is later than this
		}
	case h.kept.says(l):
	case h.live.says(l):
		h.kept = l
		h.kept.at = h.live.at
	default:
		h.kept = l
	}
	return h
}

// says tells whether it says the same, whenever.
func (l latest) says(other latest) bool {
	return !l.at.IsZero() && l.text == other.text && l.kind == other.kind && (l.err == nil) == (other.err == nil)
}

// take notes a message, for all paths that are taken out of its topic. Messages come
// one after the other; polls aren't kept waiting while one is taken apart.
func (b *broker) take(name string, bytes []byte, retained bool) {
	b.mu.Lock()
	t := b.topics[name]
	if t == nil {
		b.mu.Unlock()
		return
	}
	paths := slices.Collect(maps.Keys(t.paths))
	b.mu.Unlock()
	now, p := time.Now(), payloadOf(bytes)
	found := make([]latest, len(paths))
	for i, path := range paths {
		found[i] = p.extract(path, now)
	}
	b.update(func() {
		for i, path := range paths {
			t.paths[path] = t.paths[path].with(found[i], retained)
		}
	})
}
