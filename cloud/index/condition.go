package index

import (
	"time"

	"gnomon/cloud/store"
	"gnomon/shadow"
)

// Condition tells of one shadow whether a selector holds for it. classic is the
// classic shadow of its thing, where labels and the site are; either may be nil.
// For a shadow that isn't there no selector holds but the empty one.
type Condition func(key store.Key, d, classic *shadow.Document, now time.Time) bool

// ParseCondition reads a selector as ParseSelector does.
func ParseCondition(text string) (Condition, error) {
	s, err := ParseSelector(text)
	if err != nil {
		return nil, err
	}
	return func(key store.Key, d, classic *shadow.Document, now time.Time) bool {
		if !d.Exists() {
			return len(s) == 0
		}
		r := row{thing: thingNamed(key.Thing)}
		if classic.Exists() {
			f := factsOf(store.Key{Thing: key.Thing}, classic)
			f.fillThing(r.thing)
		}
		f := factsOf(key, d)
		f.fill(&r)
		m := compile(s, now)
		return m.row(&r) && documentHolds(d, m.docs)
	}, nil
}
